"""Many clients spend a user's last credits at the same moment, round after round, on both databases."""

from functools import partial

import pytest
from sqlalchemy import func, select

from catalog.traits import Traits
from server.avatars.tables import Avatar
from server.credits.errors import InsufficientCredits
from server.credits.tables import Account, Transfer
from server.generations.tables import Generation
from server.uploads.service import PRICE, Upload, upload
from tests.server.stored import stored_image
from tests.server.uploads.mutations import DEEP

pytestmark = [pytest.mark.deep, pytest.mark.usefixtures("books_that_balance")]

ROUNDS = 200 if DEEP else 5
CLIENTS = 64
FREE_PRICE = 8


@pytest.fixture
def spent(uow):
    """Read what a user has available and held, and how many holds and rows of a table are the user's."""

    def read(account, table):
        with uow.read() as tx:
            credits_ = tx.session.get(Account, account.user_id)
            holds = select(func.count()).where(Transfer.user_id == account.user_id, Transfer.kind == "hold")
            rows = select(func.count()).select_from(table).where(table.user_id == account.user_id)
            return credits_.available, credits_.held, tx.session.scalar(holds), tx.session.scalar(rows)

    return read


class TestLastCredits:
    def test_of_submissions(self, make_account, submit_one, at_once, spent):
        """Of 64 submissions at once with credits for one, one is accepted and all others owe nothing."""
        for _ in range(ROUNDS):
            account = make_account(credits=FREE_PRICE)
            outcomes = at_once(CLIENTS, partial(submit_one, account))
            refused = [one for one in outcomes if not isinstance(one, Generation)]
            assert len(refused) == CLIENTS - 1
            assert set(map(repr, refused)) == {repr(InsufficientCredits(required=FREE_PRICE, available=0))}
            assert spent(account, Generation) == (0, FREE_PRICE, 1, 1)

    def test_of_requests(self, api, make_account, at_once, spent):
        """Of 64 requests at once with credits for one, one is answered 200 and the others 402."""
        for round_ in range(1, ROUNDS + 1):
            account = make_account(credits=FREE_PRICE)
            answers = at_once(CLIENTS, partial(api.generate, account))
            refused = [one for one in answers if one.status_code != 200]
            assert len(refused) == CLIENTS - 1
            for answer in refused:
                error = api.refused(answer, 402, "INSUFFICIENT_CREDITS")
                assert error["message"] == f"Insufficient credits. Required: {FREE_PRICE}, Available: 0"
            assert spent(account, Generation) == (0, FREE_PRICE, 1, 1)
            assert api.woken(round_) == round_

    def test_of_uploads(self, uow, make_account, at_once, spent):
        """Of 64 uploads at once with credits for one, one avatar is added and paid."""

        def add(account):
            with uow.begin() as tx:
                return upload(tx, account.caller, Upload(account.project_id, "Me", Traits(), stored_image()))

        for _ in range(ROUNDS):
            account = make_account(credits=PRICE)
            outcomes = at_once(CLIENTS, partial(add, account))
            refused = [one for one in outcomes if isinstance(one, Exception)]
            assert len(refused) == CLIENTS - 1
            assert set(map(repr, refused)) == {repr(InsufficientCredits(required=PRICE, available=0))}
            assert spent(account, Avatar) == (0, 0, 1, 1)
