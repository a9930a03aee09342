"""Reads and writes of inventory's tables: `stock` for the fold, `listings` for operators."""
