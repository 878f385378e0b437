"""Idempotency keys: a request that spends, sent twice, spends once."""
