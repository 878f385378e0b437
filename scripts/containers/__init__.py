"""Tests the images and the compose file without a Docker engine, a registry or a GPU."""
