"""Writes `.env.example` from the declarations of the settings: `make env-example`."""

from pathlib import Path
from typing import Final

from server.settings.example import render

FILE: Final = Path(__file__).parent.parent / ".env.example"

if __name__ == "__main__":
    FILE.write_text(render(), "utf-8")
