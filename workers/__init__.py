"""The processes: Celery tasks that look at the ledger and do what it says."""
