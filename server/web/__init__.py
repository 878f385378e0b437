"""The page: static files, and the controller that serves them."""
