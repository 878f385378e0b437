"""How many tests there are of each client's library."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[2]
LIBRARIES = {
    "test_openai": "openai",
    "test_huggingface": "huggingface_hub",
    "test_replicate": "replicate",
    "test_fal": "fal-client",
    "test_a1111": "Open WebUI's requests",
}


def test_every_dialect_is_tested(record_property):
    """Each folder of a dialect has tests with the library that speaks it; their number is printed."""
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0", str(FOLDER)],
        cwd=ROOT,
        env={name: text for name, text in os.environ.items() if not name.startswith("PYTEST")},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    paths = [line.partition("::")[0] for line in collected.stdout.splitlines() if "::" in line]
    counts = Counter(Path(path).stem for path in paths)
    folders = {path.name for path in (ROOT / "server" / "dialects").iterdir() if path.is_dir()}
    assert {f"test_{name}" for name in folders if not name.startswith("_")} == set(LIBRARIES)
    assert all(counts[name] >= 10 for name in LIBRARIES)
    told = ", ".join(f"{library} {counts[name]}" for name, library in LIBRARIES.items())
    record_property("figure", f"tests of dialects: {told}")
