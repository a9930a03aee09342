"""Invoices, credit notes and receipts: issued with what they are about, rendered when asked for."""
