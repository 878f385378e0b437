"""Where images are kept and how they are linked."""
