"""fal's API of queued requests, as its client libraries speak it."""
