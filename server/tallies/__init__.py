"""What the metrics count, in the transaction in which it happens."""
