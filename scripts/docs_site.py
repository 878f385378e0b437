"""Builds the documentation as a site, and checks that it loads nothing from elsewhere: `make docs`."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
CONFIG: Final = ROOT / "zensical.toml"

_FOREIGN: Final = r"=[\"']?((?:https?:)?//[^\"'\s>]+)"
LOADED: Final = re.compile(r"<(?:script|img|iframe|source|video)\b[^>]*\bsrc" + _FOREIGN)
STYLED: Final = re.compile(
    r"<link\b(?=[^>]*\brel=[\"']?(?:stylesheet|icon|preconnect|preload))[^>]*\bhref" + _FOREIGN
)


def from_elsewhere(site: Path) -> Iterator[str]:
    """Yield each address of another host that a page of the site loads, with the page's name."""
    for page in sorted(site.rglob("*.html")):
        text = page.read_text("utf-8")
        for address in [*LOADED.findall(text), *STYLED.findall(text)]:
            yield f"{page.relative_to(site)} loads {address}"


def main() -> None:
    """Build the site; the exit code is 1 if there is a warning."""
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    if subprocess.run(command, cwd=ROOT, check=False).returncode:  # noqa: S603  # our own arguments
        sys.exit(1)
    site = ROOT / tomllib.loads(CONFIG.read_text("utf-8"))["project"]["site_dir"]
    if foreign := list(from_elsewhere(site)):
        sys.exit("\n".join(foreign))
    sys.stdout.write(f"The documentation is in {site.relative_to(ROOT)}/index.html\n")


if __name__ == "__main__":
    main()
