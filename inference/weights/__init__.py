"""Where weights are, and fetching those that the catalogue needs from the Hugging Face hub."""
