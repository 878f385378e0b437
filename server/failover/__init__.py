"""Who can draw: which workers are ready, and when hosted providers step in for local ones."""
