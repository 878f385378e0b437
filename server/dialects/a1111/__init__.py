"""The API of A1111's web UI, as far as Open WebUI uses it."""
