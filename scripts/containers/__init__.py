"""Proves the images and the compose file on a machine without a Docker engine, a registry or a GPU."""
