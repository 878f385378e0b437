"""From the printed link to an avatar, in a real browser, on a real program that draws with the miniature."""

import re
import sqlite3
import time
from contextlib import closing, contextmanager

import pytest
from playwright.sync_api import expect

from catalog.tiers import Tier
from tests.e2e.browser.visitor import DRAWN_S, PROMPT, TIMES, UNFINISHED

pytestmark = pytest.mark.e2e

STEPS = re.compile(r"step (\d+) of 35")
SETTLED_S = 1.0  # after which the page shows the last step that was recorded
HD, LARGEST = "Ultra", "1536 px"  # thirty-five steps, and the slowest there are: long enough to be seen

WATCH = """card => {
  window.seen = [];
  const note = () => {
    const step = /step (\\d+) of 35/.exec(card.textContent);
    if (step && window.seen.at(-1) !== Number(step[1])) window.seen.push(Number(step[1]));
  };
  new MutationObserver(note).observe(card, {childList: true, characterData: true, subtree: true});
}"""
"""Keeps every number of a step that a card shows in `window.seen`."""


def draw_hd(visitor):
    """Have the slowest model draw, and return the card."""
    visitor.page.get_by_role("radio", name=HD).check()
    visitor.page.get_by_role("radio", name=LARGEST).check()
    visitor.sees(f"FLUX.1-dev HD + Realism LoRA, 1536 {TIMES} 1536")
    return visitor.draw()


def is_locked(program):
    """Return whether a process holds the write lock of the program's database."""
    with closing(sqlite3.connect(program.data_dir / "avatar-creator.db", timeout=0.2)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        connection.rollback()
    return False


@contextmanager
def held_at_a_step(program, card):
    """Wait until a card shows a step, and let the worker draw nothing while the body runs."""
    shown = card.get_by_text(STEPS)
    expect(shown).to_be_visible()
    worker = program.child("server.worker")
    worker.suspend()
    while is_locked(program):  # it was stopped in a transaction, for whose end all others would wait
        worker.resume()
        time.sleep(0.05)
        worker.suspend()
    time.sleep(SETTLED_S)
    try:
        yield int(STEPS.search(shown.inner_text())[1])
    finally:
        worker.resume()


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
        """While it is drawn the page counts the steps, by the stream, and shows what is drawn so far."""
        visitor = visit(link(Tier.PRO))
        asked = []
        visitor.page.on("request", lambda request: asked.append(request.url))
        card = draw_hd(visitor)
        card.evaluate(WATCH)
        visitor.sees(card.get_by_role("progressbar"))
        preview = visitor.sees(card.locator("img.preview"))
        preview.evaluate("image => image.decode()")
        assert preview.evaluate("image => image.naturalWidth") == 1536 // 8
        expect(preview).to_have_count(0, timeout=DRAWN_S * 1000)
        visitor.image_of(card)
        seen = visitor.page.evaluate("window.seen")
        assert len(seen) >= 2  # the worker records a step a second
        assert seen == sorted(seen)
        assert len([url for url in asked if re.search("/generations/[^/]+$", url)]) <= 2

    def test_cancelling(self, program, visit, link):
        """A cancelled generation says what was given back, and the balance is what it was."""
        visitor = visit(link(Tier.PRO))
        card = draw_hd(visitor)
        with held_at_a_step(program, card):
            visitor.sees("85 credits")
            card.get_by_role("button", name="Cancel").click()
            visitor.sees("Cancelled. 15 credits given back.")
            visitor.sees("100 credits")

    def test_a_reload_in_the_middle(self, program, visit, link):
        """After a reload the page shows the same generation go on, and what was typed."""
        visitor = visit(link(Tier.PRO))
        with held_at_a_step(program, draw_hd(visitor)) as step:
            visitor.prompt.fill(UNFINISHED)
            visitor.page.reload()
            card = visitor.card()
            visitor.sees(card.get_by_text(f"step {step} of 35"))
            expect(visitor.prompt).to_have_value(UNFINISHED)
        visitor.image_of(card)

    def test_the_api_restarts_in_the_middle(self, program, visit, link):
        """While the API is away the page says so; then it goes on with what is drawn, and draws more."""
        visitor = visit(link(Tier.PRO))
        card = draw_hd(visitor)
        visitor.sees(card.get_by_text(STEPS))
        visitor.prompt.fill(f"{PROMPT} again")
        program.child("server.cli api").kill()
        visitor.sees("The server does not answer.")
        expect(visitor.page.get_by_text("The server does not answer.")).to_be_hidden()
        visitor.image_of(card)
        visitor.page.get_by_role("radio", name="Fast").check()
        visitor.page.get_by_role("radio", name="512 px").check()
        visitor.sees(f"FLUX.1-schnell Fast, 512 {TIMES} 512")
        visitor.image_of(visitor.draw(f"{PROMPT} again"))
