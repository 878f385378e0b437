"""The catalogue: entries, tiers, selection, prices and prompts. Standard library only."""
