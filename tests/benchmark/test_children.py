"""The environment of the processes that measure drawing."""

import json
import os
import subprocess
import sys

from inference import LIBRARY_SETTINGS

PROGRAM = """
import json, os, sys
import benchmark.children as children
before = "torch" in sys.modules
settings = {name: os.environ.get(name) for name in json.loads(sys.argv[1])}
print(json.dumps([before, settings]))
"""


class TestLibrarySettings:
    def test_they_are_set_before_torch_is_imported(self):
        """The bare pipeline has the library settings of the worker: its threads sleep while they wait."""
        clean = {key: value for key, value in os.environ.items() if key not in LIBRARY_SETTINGS}
        ran = subprocess.run(
            [sys.executable, "-c", PROGRAM, json.dumps(list(LIBRARY_SETTINGS))],
            env=clean,
            check=True,
            capture_output=True,
            text=True,
        )
        torch_loaded, settings = json.loads(ran.stdout)
        assert not torch_loaded
        assert settings == LIBRARY_SETTINGS
        assert settings["OMP_WAIT_POLICY"] == "PASSIVE"
