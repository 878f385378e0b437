"""Avatars: what was delivered."""
