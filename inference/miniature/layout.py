"""Where the parts of the miniature lie in its folder: as the real repositories are named."""

from typing import Final

DEV: Final = "black-forest-labs/FLUX.1-dev"
SCHNELL: Final = "black-forest-labs/FLUX.1-schnell"
ADAPTER_FILE: Final = "XLabs-AI/flux-RealismLora/lora.safetensors"
