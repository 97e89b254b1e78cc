"""The ledger: the only truth about money, on SQLite (embedded) or PostgreSQL."""
