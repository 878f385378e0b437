"""The API of Hugging Face's inference clients for text to image."""
