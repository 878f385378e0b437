"""The links of the README, of what lies beside it and of the documentation."""

import re
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt

from tests.e2e.documents import ROOT, documents


def targets(document: Path) -> list[str]:
    """Return the addresses of a document's links and images."""
    found = []
    for token in MarkdownIt().enable("table").parse(document.read_text("utf-8")):
        for child in token.children or ():
            address = child.attrs.get("href") or child.attrs.get("src")
            found += [str(address)] if address else []
    return found


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    tokens = MarkdownIt().parse(document.read_text("utf-8"))
    headings = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(document: Path, address: str) -> bool:
    """Whether a link leads to no file or heading; of another host only the form is checked."""
    parts = urlsplit(address)
    if parts.scheme:
        return parts.scheme not in ("https", "mailto") or not (parts.netloc or parts.path)
    target = document.parent / unquote(parts.path) if parts.path else document
    return not target.exists() or bool(parts.fragment and parts.fragment not in anchors(target))


class TestLinks:
    @pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
    def test_every_link_leads_somewhere(self, document):
        """Every link leads to a file and a heading that are there, or by https to another host."""
        assert [address for address in targets(document) if broken(document, address)] == []

    @pytest.mark.parametrize(
        "address", ["docs/nothing.md", "docs/api.md#nothing", "http://example.com", "#nothing"]
    )
    def test_a_broken_link(self, address):
        """A file or a heading that is not there, and another host without https, are found."""
        assert broken(ROOT / "README.md", address)
