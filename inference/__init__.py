"""Image generation: backends, pipelines, adapters, devices. Independent of HTTP, SQL and Redis.

Importing this package loads no heavy library. It only sets environment variables that torch and the Hugging
Face libraries read at their first import, and the level of a logger. Variables that the operator has set
already are left unchanged.
"""

import logging
import os
from typing import Final

LIBRARY_SETTINGS: Final = {
    # By default OpenMP's threads spin while they wait. When another process needed the cores (the API, Redis,
    # a test), spinning made a step of the miniature 20 times slower on 2 cores. Sleeping costs nothing
    # measurable.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Warnings of both libraries may quote the prompt, and no prompt may reach a log.
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # Its own client, which outbound/ does not bound.
    "HF_HUB_DISABLE_XET": "1",
}

for _name, _value in LIBRARY_SETTINGS.items():
    os.environ.setdefault(_name, _value)

# diffusers imports torchao, which then warns of each kernel that its wheel has for other cards.
logging.getLogger("torchao").setLevel(logging.ERROR)
