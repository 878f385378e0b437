"""Fetching the weights that the catalogue needs from the Hugging Face hub, whole and checked."""
