"""Idempotency keys through the API, on both databases."""

import time
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from catalog.tiers import Tier
from server.clock import now
from server.credits.repository import Ledger
from server.credits.tables import Transfer
from server.events.tables import Event
from server.generations.tables import Generation
from server.http.idempotency import REPLAYED
from server.idempotency.tables import KeptAnswer

KEY = "3f0c6c1e-0001"
PATIENCE_S = 0.05  # not the second that is advised: the request in flight is a short one


@pytest.fixture
def rows(uow):
    """Count the rows of a table whose columns have these values."""

    def count(table, **values):
        with uow.read() as tx:
            return tx.session.scalar(select(func.count()).select_from(table).filter_by(**values))

    return count


def generate(api, account, key, **fields):
    """Request an avatar under an idempotency key."""
    headers = account.headers if key is None else account.headers | {"Idempotency-Key": key}
    body = {"name": "Ada", "prompt": "portrait of a person", **fields}
    return api.client.post(
        f"/api/avatar-creator/projects/{account.project_id}/avatars/generate", json=body, headers=headers
    )


class TestReplay:
    def test_the_same_request_spends_once(self, api, make_account):
        """The second answer is the first one, byte for byte, and nothing more is held or queued."""
        account = make_account(credits=100)
        first, second = (generate(api, account, KEY) for _ in range(2))
        assert first.status_code == second.status_code == 200
        assert first.content == second.content
        assert "idempotency-replayed" not in first.headers
        assert second.headers["idempotency-replayed"] == "true"
        assert second.headers["content-type"] == first.headers["content-type"]
        assert (api.generations(), api.account(account), api.woken(1)) == (1, (92, 8), 1)

    def test_both_prefixes_are_one_resource(self, api, make_account):
        """A request that is repeated under the other prefix is the same request."""
        account = make_account()
        body = {"name": "Ada", "prompt": "portrait of a person"}
        answers = [
            api.client.post(
                f"{prefix}/projects/{account.project_id}/avatars/generate",
                json=body,
                headers=account.headers | {"Idempotency-Key": KEY},
            )
            for prefix in ("/api/avatar-creator", "/api/apps/avatar-creator")
        ]
        assert answers[0].content == answers[1].content
        assert api.generations() == 1

    def test_without_a_key_each_request_spends(self, api, make_account):
        """Requests without a key are not compared."""
        account = make_account(credits=100)
        generate(api, account, None)
        generate(api, account, None)
        assert api.account(account) == (84, 16)

    def test_a_key_belongs_to_its_user(self, api, make_account):
        """Another user's equal key is another key."""
        first, second = make_account(), make_account()
        assert generate(api, first, KEY).content != generate(api, second, KEY).content
        assert api.generations() == 2

    def test_a_day_later_the_key_is_free(self, api, make_account, uow):
        """An answer is kept for 24 hours; then the same request spends again."""
        account = make_account(credits=100)
        first = generate(api, account, KEY)
        for hours, spent in ((23, 8), (25, 16)):
            with uow.begin() as tx:
                tx.session.execute(update(KeptAnswer).values(created_at=now() - timedelta(hours=hours)))
            again = generate(api, account, KEY)
            assert api.account(account) == (100 - spent, spent)
        assert again.content != first.content


class TestRefused:
    @pytest.mark.parametrize("change", [{"name": "Eve"}, {"width": 640}, {"seed": 1}])
    def test_another_body(self, api, make_account, change):
        """A key that comes with another body is a conflict, and nothing is spent."""
        account = make_account(credits=100)
        generate(api, account, KEY)
        api.refused(generate(api, account, KEY, **change), 409, "CONFLICT")
        assert api.account(account) == (92, 8)

    def test_another_project(self, api, make_account):
        """A key that comes with the same body for another project is a conflict."""
        account = make_account()
        generate(api, account, KEY)
        created = api.client.post(
            "/api/avatar-creator/projects", json={"name": "Other"}, headers=account.headers
        )
        project_id = created.json()["project"]["id"]
        answer = api.client.post(
            f"/api/avatar-creator/projects/{project_id}/avatars/generate",
            json={"name": "Ada", "prompt": "portrait of a person"},
            headers=account.headers | {"Idempotency-Key": KEY},
        )
        api.refused(answer, 409, "CONFLICT")

    def test_an_error_frees_the_key(self, api, make_account, uow):
        """A refused request leaves its key unused: the same request is accepted once it can be paid."""
        account = make_account(credits=7)
        api.refused(generate(api, account, KEY), 402, "INSUFFICIENT_CREDITS")
        api.refused(generate(api, account, KEY, prompt="short"), 400, "VALIDATION_ERROR", "prompt")
        with uow.begin() as tx:
            Ledger(tx).grant(account.user_id, 1, "test", "test")
        assert generate(api, account, KEY).status_code == 200
        assert api.account(account) == (0, 8)

    @pytest.mark.parametrize("key", ["", "a b", "ä", "x" * 256, "a\tb"])
    def test_a_malformed_key(self, api, make_account, key):
        """A key that is empty, too long or not of printable ASCII is refused by the header's name."""
        account = make_account()
        answer = generate(api, account, key.encode("latin-1"))
        api.refused(answer, 400, "VALIDATION_ERROR", "Idempotency-Key")
        api.nothing_happened(account)


def generate_until_answered(api, account, key):
    """Request an avatar as a client does that repeats a request in flight; return the answers."""
    answers = [generate(api, account, key)]
    while answers[-1].status_code == 409:
        time.sleep(PATIENCE_S)
        answers.append(generate(api, account, key))
    return answers


@pytest.mark.usefixtures("books_that_balance")
class TestAtOnce:
    def test_a_hundred_threads(self, api, make_account, at_once, rows):
        """One key from 100 threads makes one generation, one hold and one answer, which all get at last."""
        account = make_account(Tier.BASIC, credits=100)
        outcomes = at_once(100, lambda: generate_until_answered(api, account, KEY))
        for answers in outcomes:
            for answer in answers[:-1]:
                api.refused(answer, 409, "CONFLICT")
                assert answer.headers["retry-after"] == "1"
        last = [answers[-1] for answers in outcomes]
        assert {answer.status_code for answer in last} == {200}
        assert len({answer.content for answer in last}) == 1
        assert sum(REPLAYED not in answer.headers for answer in last) == 1
        assert (api.generations(), api.account(account), api.woken(1)) == (1, (88, 12), 1)
        assert (rows(Transfer, kind="hold"), rows(Event), rows(KeptAnswer)) == (1, 1, 1)
        generation_id = last[0].json()["generation"]["id"]
        assert rows(Generation, id=generation_id) == rows(Transfer, reference_id=generation_id) == 1
