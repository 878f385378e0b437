""".env.example, which operators copy, used as its first lines say."""

from pathlib import Path

import pytest

from tests.server.test_settings import uncommented

pytestmark = pytest.mark.e2e

EXAMPLE = (Path(__file__).parents[2] / ".env.example").read_text("utf-8")


class TestEnvExample:
    def test_with_every_line_uncommented_it_starts_and_draws(self, launch, models_dir):
        """With all settings of the file uncommented and unchanged, the program starts and draws."""
        program = launch(**{**uncommented(EXAMPLE), "MODELS_DIR": str(models_dir)})
        program.start_json()
        user = program.user(program.demo["apiKey"], program.demo["projectId"])
        assert user.drawn(seed=1).startswith(b"\x89PNG")
        program.stop()
