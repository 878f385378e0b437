"""What operators see and change on the page, in a real browser on a real program."""

import re

import pytest
from playwright.sync_api import expect

from catalog.tiers import Tier
from server.accounts import service as accounts
from server.entries import service as entries

pytestmark = pytest.mark.e2e

BASE = "flux-dev-base"


@pytest.fixture(scope="class")
def program(start_hosted):
    """A program whose providers draw at once."""
    running = start_hosted()
    yield running
    running.stop()


@pytest.fixture
def operator(visit, link):
    """An operator who looks at the view."""
    visitor = visit(link(credits_=1000, is_operator=True))
    visitor.go("Operate")
    return visitor


def field(dialog, label):
    """Return a field of a dialog."""
    return dialog.get_by_label(label)


class TestOperate:  # one class, and so one program for all of them
    def test_a_price_is_changed_and_used(self, program, operator):
        """A new price is shown before Draw is pressed, and it is what the avatar costs."""
        try:
            operator.page.get_by_role("button", name="change the price of FLUX.1-dev Base").click()
            price = operator.page.get_by_label("Credits for a generation")
            price.fill("-1")
            operator.press("Save")
            operator.sees("A price is a whole number from 0")
            price.fill("5")
            operator.press("Save")
            operator.sees("FLUX.1-dev Base costs 5 credits now.")
            operator.go("Create")
            operator.sees("Binding price: 5 of your 1000 credits")
            card = operator.draw()
            operator.image_of(card)
            operator.sees(card.get_by_text("Drawn for 5 credits"))
        finally:
            entries.change(program.uow, BASE, credit_cost=8)

    def test_an_entry_is_taken_off_the_offer(self, program, operator):
        """An entry that is switched off is not offered, until it is switched on again."""
        switch = operator.page.get_by_role("switch", name="FLUX.1-dev Base is on offer")
        switch.click()
        operator.sees("FLUX.1-dev Base is not on offer now.")
        expect(switch).not_to_be_checked()
        switch.click()
        expect(switch).to_be_checked()

    def test_the_state(self, operator):
        """The worker, what was drawn, and the audit of the ledger are there and stay current."""
        operator.sees("All is well")
        workers = operator.page.get_by_role("region", name="Workers")
        expect(workers.get_by_role("row")).to_have_count(2)
        operator.sees(workers.get_by_text("ready"))
        operator.sees(operator.page.get_by_text(re.compile("The ledger was (not )?audited")))
        shown = operator.page.get_by_text(re.compile("As it was at"))
        expect(shown).not_to_have_text(shown.text_content())

    def test_a_user_is_looked_after(self, program, operator, visit):
        """An operator finds a user, sets the tier, grants credits once, and issues and revokes a key."""
        accounts.register(
            program.uow,
            email="ada@example.org",
            tier=Tier.FREE,
            granted=3,
            reason="Test credits",
            key_label="test",
            user_id="ada",
        )
        page = operator.page
        page.get_by_label("Find by the beginning").fill("ADA@")
        expect(page.get_by_role("region", name="Users").get_by_role("row")).to_have_count(2)
        operator.press("Look after ada")
        dialog = page.get_by_role("dialog", name="ada")
        field(dialog, "Tier").select_option("pro")
        operator.sees("ada is pro now.")
        field(dialog, "Grant credits").fill("0")
        operator.press("Grant")
        operator.sees("An amount is a whole number from 1")
        field(dialog, "Grant credits").fill("20")
        field(dialog, "Reason").fill("Sorry for the wait")
        operator.press("Grant")
        operator.sees("23 credits to spend")
        operator.press("Issue a key")
        token = dialog.locator("code.token").text_content()
        user = visit()
        user.page.get_by_label("API key").fill(token)
        user.press("Sign in")
        user.sees("Binding price: 12 of your 23 credits")
        page.get_by_role("button", name=f"Revoke {token[:11]}").click()
        operator.press("Revoke")
        operator.sees(f"The key {token[:11]} is revoked.")
        user.page.get_by_role("link", name="Gallery").click()
        user.sees("Your key is not valid, or was revoked.")

    def test_others_do_not_see_it(self, program, visit, link):
        """Whoever is no operator has no link to the view, and its address says that it is for operators."""
        visitor = visit(link())
        visitor.sees("Binding price")
        expect(visitor.page.get_by_role("link", name="Operate")).to_have_count(0)
        visitor.page.goto(program.url + "/#/operate")
        visitor.sees("Only operators may do this.")
