"""Stock per SKU and warehouse, reservations of checkouts, and the ledger of every movement."""
