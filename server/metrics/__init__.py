"""What a Prometheus scrapes."""
