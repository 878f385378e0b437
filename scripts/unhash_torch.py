"""Removes torch's hashes from cpu.lock: its builds for CPUs are on an index of their own, and have others."""

import re
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).parent.parent / "requirements" / "cpu.lock"
TORCH: Final = re.compile(r"^(torch==\S+)( \\\n    --hash=\S+)+", re.MULTILINE)

if __name__ == "__main__":
    FILE.write_text(TORCH.sub(r"\1", FILE.read_text("utf-8")), "utf-8")
