"""The HTTP client for everything that this program fetches or sends. It knows no noun and no backend."""
