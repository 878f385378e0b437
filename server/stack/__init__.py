"""What `avatar-creator up` runs on one machine: Redis, the API and the workers."""
