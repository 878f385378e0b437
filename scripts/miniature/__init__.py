"""Draws avatars and trains the small FLUX.1 of `inference.miniature` on them."""
