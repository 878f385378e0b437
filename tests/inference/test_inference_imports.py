import os
import subprocess
import sys

import pytest

from inference import LIBRARY_SETTINGS

HEAVY = "torch diffusers transformers peft numpy"


def run(code, **environment):
    """Run Python code in a fresh interpreter and return what it prints."""
    inherited = {name: value for name, value in os.environ.items() if name not in LIBRARY_SETTINGS}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=inherited | environment
    )
    return done.stdout.strip()


class TestImports:
    @pytest.mark.parametrize(
        "names",
        ["inference", "inference.backend, inference.errors", "inference.scripted, inference.local.canvas"],
    )
    def test_the_protocol_is_light(self, names):
        """The protocol, the errors and the scripted backend load none of the heavy libraries."""
        heavy = run(
            f"import sys, {names}; print([name for name in '{HEAVY}'.split() if name in sys.modules])"
        )
        assert heavy == "[]"

    def test_threads_sleep_while_they_wait(self):
        """Importing inference tells OpenMP to sleep, before torch can read it."""
        assert run("import os, inference; print(os.environ['OMP_WAIT_POLICY'])") == "PASSIVE"

    def test_the_operator_has_the_last_word(self):
        """A setting that the environment has already is left as it is."""
        code = "import os, inference; print(os.environ['OMP_WAIT_POLICY'])"
        assert run(code, OMP_WAIT_POLICY="ACTIVE") == "ACTIVE"
