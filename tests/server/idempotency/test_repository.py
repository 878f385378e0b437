from datetime import timedelta

import pytest

from server.clock import now
from server.idempotency.repository import KeptAnswers, KeyedRequest, KeyInFlight, KeyReused


@pytest.fixture
def request_of(make_account):
    """A keyed request of a new user."""
    return KeyedRequest(make_account().user_id, "key-1", "digest-1")


class TestKeptAnswers:
    def test_an_answer_is_kept_byte_for_byte(self, uow, request_of):
        """What is kept is found again, NUL and all, and nothing is found before."""
        with uow.begin() as tx:
            assert KeptAnswers(tx).find(request_of) is None
            KeptAnswers(tx).keep(request_of, b"\x00{\xff}")
        with uow.begin() as tx:
            assert KeptAnswers(tx).find(request_of) == b"\x00{\xff}"

    def test_another_request(self, uow, request_of):
        """A key with another digest is refused."""
        with uow.begin() as tx:
            KeptAnswers(tx).keep(request_of, b"{}")
        other = KeyedRequest(request_of.user_id, request_of.key, "digest-2")
        with pytest.raises(KeyReused), uow.begin() as tx:
            KeptAnswers(tx).find(other)

    def test_in_flight(self, uow, request_of):
        """While a transaction holds a key on PostgreSQL, another one is refused at once; then it is free."""
        if uow.engine.dialect.name == "sqlite":
            pytest.skip("SQLite's one writer makes the second transaction wait")
        with uow.begin() as first:
            KeptAnswers(first).find(request_of)
            with pytest.raises(KeyInFlight), uow.begin() as second:
                KeptAnswers(second).find(request_of)
        with uow.begin() as third:
            assert KeptAnswers(third).find(request_of) is None

    def test_forgetting(self, uow, request_of):
        """What was kept before a moment is deleted and counted; the rest stays."""
        with uow.begin() as tx:
            KeptAnswers(tx).keep(request_of, b"{}")
        with uow.begin() as tx:
            assert KeptAnswers(tx).forget(now() - timedelta(hours=1)) == 0
            assert KeptAnswers(tx).forget(now() + timedelta(hours=1)) == 1
            assert KeptAnswers(tx).find(request_of) is None
