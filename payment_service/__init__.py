"""Payments: attempts behind a provider port, captures, closes, refunds, and the ledger of facts."""
