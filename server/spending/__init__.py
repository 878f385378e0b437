"""What hosted providers cost, and the day's limit."""
