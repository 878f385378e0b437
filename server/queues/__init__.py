"""The bell: RQ on Redis wakes the workers."""
