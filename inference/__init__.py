"""How an image is made: backends, pipelines, adapters, devices. Knows no HTTP, no SQL and no Redis."""
