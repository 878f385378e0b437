"""From the printed link to an avatar, in a real browser, on a real program that draws with the miniature."""

import re
import time

import pytest
from playwright.sync_api import expect

from catalog.tiers import Tier
from tests.e2e.browser.visitor import PROMPT, TIMES, UNFINISHED

pytestmark = pytest.mark.e2e

STEPS = re.compile(r"step (\d+) of 35")
HD = "Ultra"  # thirty-five steps at 1024 px: long enough to be seen and stopped


def begin_hd(visitor):
    """Have the slowest model draw, wait for a step, and return the card and the number of the step."""
    visitor.page.get_by_role("radio", name=HD).check()
    visitor.sees(f"FLUX.1-dev HD + Realism LoRA, 1024 {TIMES} 1024")
    card = visitor.draw()
    return card, step_of(card)


def step_of(card):
    """Wait until a card shows a step, and return its number."""
    shown = card.get_by_text(STEPS)
    expect(shown).to_be_visible()
    return int(STEPS.search(shown.inner_text())[1])


class TestDrawing:
    def test_a_first_visit(self, program, visit, record_property):
        """Whoever opens the printed link and presses Draw sees an avatar, and the link has worked once."""
        link = program.demo["link"]
        began = time.monotonic()
        visitor = visit(link)
        visitor.sees("Binding price: 8 of your 1000 credits")
        card = visitor.draw()
        visitor.image_of(card)
        took_s = time.monotonic() - began
        visitor.sees("Drawn for 8 credits")
        visitor.sees("992 credits")
        record_property("figure", f"page: {took_s:.1f} s from the printed link to a drawn avatar")
        assert visitor.page.url == f"{program.url}/#/create"
        visitor.page.reload()
        visitor.sees("992 credits")
        stranger = visit(link)
        stranger.sees("This sign-in link was used already, or is too old. Ask for a new one.")

    def test_live_progress(self, visit, link):
        """While it is drawn the page counts the steps and the seconds, by the stream."""
        visitor = visit(link(Tier.PRO))
        polled = []
        visitor.page.on("request", lambda request: polled.append(request.url))
        card, first = begin_hd(visitor)
        visitor.sees(card.get_by_text("about"))
        polled.clear()
        bar = card.get_by_role("progressbar")
        expect(bar).not_to_have_attribute("value", str(first))
        assert step_of(card) > first
        assert not [url for url in polled if "/generations/" in url]
        visitor.image_of(card)

    def test_cancelling(self, visit, link):
        """A cancelled generation says what was given back, and the balance is what it was."""
        visitor = visit(link(Tier.PRO))
        card, _ = begin_hd(visitor)
        visitor.sees("85 credits")
        card.get_by_role("button", name="Cancel").click()
        visitor.sees("Cancelled. 15 credits given back.")
        visitor.sees("100 credits")

    def test_a_reload_in_the_middle(self, visit, link):
        """After a reload the page shows the same generation go on, and what was typed."""
        visitor = visit(link(Tier.PRO))
        _, before = begin_hd(visitor)
        visitor.prompt.fill(UNFINISHED)
        visitor.page.reload()
        card = visitor.card()
        assert step_of(card) >= before
        expect(visitor.prompt).to_have_value(UNFINISHED)
        card.get_by_role("button", name="Cancel").click()
        visitor.sees("Cancelled.")

    def test_the_api_restarts_in_the_middle(self, program, visit, link):
        """While the API is away the page says so; then it goes on with what is drawn, and draws more."""
        visitor = visit(link(Tier.PRO))
        card, _ = begin_hd(visitor)
        visitor.prompt.fill(f"{PROMPT} again")
        program.child("server.cli api").kill()
        visitor.sees("The server does not answer.")
        expect(visitor.page.get_by_text("The server does not answer.")).to_be_hidden()
        visitor.image_of(card)
        visitor.page.get_by_role("radio", name="Fast").check()
        visitor.sees(f"FLUX.1-schnell Fast, 512 {TIMES} 512")
        visitor.image_of(visitor.draw(f"{PROMPT} again"))
