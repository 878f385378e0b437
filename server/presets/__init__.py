"""Presets: what the catalogue says of them, and how often they are used."""
