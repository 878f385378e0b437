"""What is on offer: entries, tiers, selection, prices and prompts. Standard library only."""
