"""Alembic's revisions, in order, for both databases."""
