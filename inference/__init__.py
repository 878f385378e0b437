"""How an image is made: backends, pipelines, adapters, devices. Knows no HTTP, no SQL and no Redis.

Importing this package loads nothing heavy. It only sets what torch and the Hugging Face libraries read from
the environment when they are first imported, where the operator has not set it already.
"""

import os
from typing import Final

LIBRARY_SETTINGS: Final = {
    # OpenMP's threads spin while they wait. Where another process wants the cores (the API, Redis, a test),
    # that made a step of the miniature 20 times slower on 2 cores; sleeping costs nothing measurable.
    "OMP_WAIT_POLICY": "PASSIVE",
    # Both libraries' warnings may quote the prompt, which must not reach a log.
    "TRANSFORMERS_VERBOSITY": "error",
    "DIFFUSERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}

for _name, _value in LIBRARY_SETTINGS.items():
    os.environ.setdefault(_name, _value)
