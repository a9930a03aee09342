"""Set-based reads and writes: `checkouts` for the fold, `listings` for what is shown."""
