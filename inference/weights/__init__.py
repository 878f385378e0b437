"""Locates model weights, and downloads those that the catalogue needs from the Hugging Face hub."""
