"""Backups: the database and the images together, in a folder that either database can be restored from."""
