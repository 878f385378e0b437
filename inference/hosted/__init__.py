"""The hosted backend: Hugging Face's router and the providers behind it. Imports no torch."""
