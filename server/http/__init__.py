"""What all routes share: requests, bodies, authentication and the error envelope."""
