"""The local backend: FLUX.1 pipelines on this machine's device, with the models of diffusers."""
