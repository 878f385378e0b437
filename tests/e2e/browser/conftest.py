"""A real browser, and visitors of the page in it."""

from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
from playwright.sync_api import Browser

from catalog.tiers import Tier
from server.accounts import service as accounts
from server.accounts import sign_in
from tests.e2e.browser.chromium import MISSING, find, running
from tests.e2e.browser.visitor import Visitor
from tests.e2e.program import Program

Visit = Callable[..., Visitor]


# Not for the session: while Playwright runs, it has an event loop in this thread, where others want theirs.
@pytest.fixture(scope="class")
def browser() -> Iterator[Browser]:
    """A real Chromium."""
    found = find()
    if found is None:
        pytest.skip(MISSING)
    with running(found) as started:
        yield started


@pytest.fixture
def link(program: Program) -> Callable[..., str]:
    """Make users of a tier with credits; give a link that signs each in."""

    def made(tier: Tier = Tier.FREE, credits_: int = 100, *, is_operator: bool = False) -> str:
        user_id = f"visitor-{uuid4().hex[:8]}"
        accounts.register(
            program.uow,
            email=None,
            tier=tier,
            granted=credits_,
            reason="Test credits",
            key_label="test",
            user_id=user_id,
        )
        accounts.set_operator(program.uow, user_id, is_operator=is_operator)
        return sign_in.link(program.uow, user_id, program.url)

    return made


@pytest.fixture
def visit(browser: Browser, program: Program) -> Iterator[Visit]:
    """Open the page in a browser of its own, as a user's. Afterwards no script has failed or was blocked."""
    visitors: list[Visitor] = []

    def opened(address: str | None = None, **options: object) -> Visitor:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        visitors.append(Visitor(context.new_page()))
        visitors[-1].page.goto(address or program.url)
        return visitors[-1]

    yield opened
    for visitor in visitors:
        visitor.page.context.close()
    assert [trouble for visitor in visitors for trouble in visitor.troubles] == []
