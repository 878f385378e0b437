"""The miniature: complete FLUX.1 pipelines of a few million parameters, for machines without a GPU."""
