"""Generations: from a request to an avatar or a reason."""
