"""Whether everybody can use the page: judged by axe, by the keyboard alone, and on a narrow screen."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from catalog.tiers import Tier
from tests.e2e.browser.visitor import PROMPT

pytestmark = pytest.mark.e2e

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text("utf-8")
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
NARROW = {"viewport": {"width": 360, "height": 740}}
LONG = "Pneumonoultramicroscopicsilicovolcanoconiosis" * 2


@pytest.fixture(scope="class")
def program(start_hosted):
    """A program whose providers draw at once."""
    running = start_hosted()
    yield running
    running.stop()


def violations(visitor):
    """Return what axe finds on the page as it is now, each with the elements at fault."""
    visitor.page.evaluate(AXE)  # by the debugger, which the page's policy does not bind
    found = visitor.page.evaluate("tags => axe.run({runOnly: tags})", RULES)
    assert len(found["passes"]) > 10
    return [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]]


def tour(visitor):
    """Go through everything that the page shows; yield the name of each place."""
    page = visitor.page
    visitor.sees("Binding price")
    page.get_by_text("Looks and persona").click()
    page.get_by_text("Name, project and seed").click()
    page.get_by_role("radio", name="Custom").check()
    yield "the form"
    visitor.prompt.fill("short")
    visitor.press("Draw")
    visitor.sees("Describe whom to draw")
    yield "what is wrong with it"
    page.get_by_role("radio", name="768 px").check()
    visitor.image_of(visitor.draw())
    yield "an avatar that was drawn"
    visitor.go("Gallery")
    visitor.sees(page.get_by_role("listitem").first)
    yield "the gallery"
    page.get_by_role("listitem").get_by_role("button").first.click()
    visitor.sees(page.get_by_text("Guidance"))
    yield "a record"
    visitor.press("Rename")
    yield "renaming"
    visitor.press("Cancel")
    visitor.press("Delete")
    visitor.sees("deleted for good")
    yield "the question before a deletion"
    visitor.press("Keep it")
    visitor.press("Close")
    visitor.go("Credits")
    visitor.sees("granted")
    yield "the ledger"
    visitor.go("Operate")
    visitor.sees("Seconds by stage")
    yield "the operators' view"
    page.get_by_role("button", name="change the price of FLUX.1-dev Base").click()
    yield "a price"
    visitor.press("Cancel")
    page.get_by_role("button", name="Look after").first.click()
    visitor.sees("Begins with")
    yield "a user"
    page.get_by_role("button", name="Revoke").first.click()
    yield "the question before a key is revoked"
    visitor.press("Keep it")


class TestPage:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_axe_finds_nothing(self, visit, link, scheme, subtests):
        """Nowhere on the page does axe find a violation, in light or in dark colours."""
        stranger = visit(color_scheme=scheme, reduced_motion="reduce")
        stranger.sees("Turn a sentence into an avatar")
        assert violations(stranger) == []
        visitor = visit(link(Tier.BASIC, is_operator=True), color_scheme=scheme, reduced_motion="reduce")
        for place in tour(visitor):
            with subtests.test(place=place):
                assert violations(visitor) == []

    def test_a_narrow_screen(self, visit, link, subtests):
        """On a screen of 360 px nothing is wider than it, not even a word without a blank."""
        visitor = visit(link(Tier.BASIC, is_operator=True), **NARROW)
        visitor.sees("Binding price")
        visitor.image_of(visitor.draw(LONG))
        for place in tour(visitor):
            with subtests.test(place=place):
                assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 360

    def test_the_keyboard_alone(self, visit, link):
        """Without a mouse somebody skips the header, draws an avatar, looks at it, and comes back."""
        visitor = visit(link())
        visitor.sees("Binding price")
        keys = visitor.page.keyboard
        keys.press("Tab")
        expect(visitor.page.get_by_role("link", name="Skip to the content")).to_be_focused()
        keys.press("Enter")
        keys.press("Tab")
        expect(visitor.prompt).to_be_focused()
        keys.type(PROMPT)
        keys.press("Control+Enter")
        card = visitor.card()
        visitor.image_of(card)
        closer = card.get_by_role("button", name="Look closer", exact=True)
        closer.focus()
        keys.press("Enter")
        visitor.sees(visitor.page.get_by_role("dialog"))
        keys.press("Escape")
        expect(visitor.page.get_by_role("dialog")).to_have_count(0)
        expect(closer).to_be_focused()
