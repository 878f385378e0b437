"""Finds a Chromium on this machine, and starts it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from scripts.install_browser import FOLDER, on_the_path

MISSING = "no Chromium is on the path and none in .browser: run `make install-browser`"


@dataclass(frozen=True)
class Found:
    """A browser's program, and what its environment needs."""

    program: Path
    environment: dict[str, str] = field(default_factory=dict)


def find() -> Found | None:
    """Return the machine's own Chromium, else the one that `make install-browser` fetched, else None."""
    own = on_the_path()
    if own is not None:
        return Found(own)
    fetched = FOLDER / "chromium"
    if not fetched.exists():
        return None
    return Found(fetched, {"LD_LIBRARY_PATH": str(FOLDER / "lib"), "FONTCONFIG_PATH": str(FOLDER)})


@contextmanager
def running(found: Found) -> Iterator[Browser]:
    """Run a browser while the body runs."""
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses its sandbox to root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found.program,
            args=[*sandbox, "--disable-gpu", "--disable-dev-shm-usage"],
            env={**os.environ, **found.environment},
        )
        yield browser
        browser.close()
