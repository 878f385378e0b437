"""The local backend: FLUX.1 pipelines on this machine's device, through diffusers and peft."""
