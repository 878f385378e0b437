import os
import subprocess
import sys

import pytest

from inference import LIBRARY_SETTINGS

HEAVY = "torch diffusers transformers peft numpy"


def run(code, **environment):
    """Run Python code in a new interpreter and return its output."""
    inherited = {name: value for name, value in os.environ.items() if name not in LIBRARY_SETTINGS}
    process = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=inherited | environment
    )
    return process.stdout.strip()


class TestImports:
    @pytest.mark.parametrize(
        "names",
        [
            "inference",
            "inference.backend, inference.errors",
            "inference.scripted, inference.local.canvas",
            "inference.local.plan, inference.local.cards",
        ],
    )
    def test_the_protocol_is_light(self, names):
        """The protocol, the errors, the scripted backend and the plan import none of the heavy libraries."""
        heavy = run(
            f"import sys, {names}; print([name for name in '{HEAVY}'.split() if name in sys.modules])"
        )
        assert heavy == "[]"

    def test_torchao_does_not_warn(self):
        """Importing inference lets torchao, which diffusers imports, log errors only."""
        assert (
            run("import logging, inference; print(logging.getLogger('torchao.kernel').isEnabledFor(30))")
            == "False"
        )

    def test_threads_sleep_while_they_wait(self):
        """Importing inference sets OpenMP's wait policy to sleep before torch reads it."""
        assert run("import os, inference; print(os.environ['OMP_WAIT_POLICY'])") == "PASSIVE"

    def test_the_operators_setting_is_kept(self):
        """A variable that the environment has already is not changed."""
        code = "import os, inference; print(os.environ['OMP_WAIT_POLICY'])"
        assert run(code, OMP_WAIT_POLICY="ACTIVE") == "ACTIVE"
