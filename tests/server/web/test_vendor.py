"""What the page has from others, and what its own code must not do."""

import hashlib
import re
import tomllib
from pathlib import Path

import pytest

import server.web
from tests.test_house import ROOT

ASSETS = Path(server.web.__file__).parent / "assets"
BROWSER = ROOT / "tests" / "e2e" / "browser"
FORBIDDEN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextualFragment|DOMParser|srcdoc"
    r"|\beval\b|new Function|javascript:|setAttribute\(\s*['\"]on|style=\"",
    re.IGNORECASE,
)


def own_code():
    return [
        path for path in ASSETS.rglob("*") if path.suffix in {".js", ".html"} and "vendor" not in path.parts
    ]


@pytest.mark.parametrize("folder", [ASSETS / "vendor", BROWSER / "axe"], ids=["page", "axe"])
def test_vendored_files_are_what_their_makers_published(folder):
    """Each vendored file is listed with its source and licence, and has the hash that is listed."""
    packages = tomllib.loads((folder / "vendor.toml").read_text("utf-8"))
    listed = {name: digest for package in packages.values() for name, digest in package["files"].items()}
    found = {path.name for path in folder.iterdir()} - {"vendor.toml"}
    assert set(listed) == found
    for name, digest in listed.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    for package in packages.values():
        assert package["version"]
        assert package["source"]
        assert package["licence"]


def test_no_text_becomes_markup():
    """The page's own code has no way by which a text could become markup or code."""
    code = own_code()
    assert len(code) > 10
    assert {path.name: FORBIDDEN.findall(path.read_text("utf-8")) for path in code} == {
        path.name: [] for path in code
    }


def test_nothing_is_loaded_from_elsewhere():
    """Neither a script nor a style of the page names another host."""
    texts = [*own_code(), *(path for path in ASSETS.rglob("*.css") if "vendor" not in path.parts)]
    named = {
        path.name: address
        for path in texts
        for address in re.findall(r"(?:https?:)?//[\w.-]+\.\w+", path.read_text("utf-8"))
    }
    assert named == {}
