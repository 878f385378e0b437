"""The process that joins server and inference."""
