"""Replicate's API of predictions, as its client libraries speak it."""
