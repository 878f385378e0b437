"""Avatars made from images that users send."""
