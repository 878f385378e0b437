"""What happened to a generation."""
