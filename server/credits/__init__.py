"""Credits: the accounts and the ledger."""
