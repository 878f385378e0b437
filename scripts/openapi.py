"""Writes `docs/openapi.json`, the API as its code describes it: `make openapi`."""

import json
import tempfile
from pathlib import Path
from typing import Final

from server.application import create_app
from server.settings import Settings

FILE: Final = Path(__file__).parent.parent / "docs" / "openapi.json"


def render() -> str:
    """Return the OpenAPI document of the API, the same for the same code."""
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings.from_environment(Path(folder), {}))
    return json.dumps(app.openapi_schema.to_schema(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(render(), "utf-8")
