"""The site that is made of the documentation."""

import tomllib
from pathlib import Path

import pytest

from scripts.docs_site import CONFIG, ROOT, from_elsewhere


def pages(nav) -> set[str]:
    """Return the files that a menu names, at any depth."""
    found: set[str] = set()
    for item in nav:
        for target in item.values():
            found |= {target} if isinstance(target, str) else pages(target)
    return found


class TestSite:
    def test_every_page_is_in_the_menu(self):
        """The menu has every page of docs/, but each decision: those are in the list of decisions."""
        nav = tomllib.loads(CONFIG.read_text("utf-8"))["project"]["nav"]
        docs = ROOT / "docs"
        written = {str(page.relative_to(docs)) for page in docs.rglob("*.md")}
        records = {page for page in written if page.startswith("adr/0")}
        assert pages(nav) == written - records
        listed = (docs / "adr" / "README.md").read_text("utf-8")
        assert [record for record in records if f"({Path(record).name})" not in listed] == []

    @pytest.mark.parametrize(
        "tag",
        [
            '<script src="https://cdn.example.com/a.js"></script>',
            "<img src=//example.com/a.png>",
            '<link rel="stylesheet" href="https://fonts.example.com/css">',
        ],
    )
    def test_a_page_that_loads_from_elsewhere(self, tag, tmp_path):
        """A script, a picture and a style of another host are found; a link to one is none of these."""
        (tmp_path / "page.html").write_text(f'<a href="https://example.com">away</a>{tag}', "utf-8")
        assert len(list(from_elsewhere(tmp_path))) == 1

    def test_a_page_of_its_own(self, tmp_path):
        """What a page loads of its own site is not from elsewhere."""
        own = '<script src="../a.js"></script><link rel="stylesheet" href="./a.css"><a href="//b.org">b</a>'
        (tmp_path / "page.html").write_text(own, "utf-8")
        assert list(from_elsewhere(tmp_path)) == []
