import asyncio
from contextlib import asynccontextmanager, contextmanager

import pytest

from server.db.unit_of_work import UnitOfWork
from server.errors import DatabaseAway
from server.generations import settlement
from server.http.event_feed import BUFFER, EventFeed, Frame, StreamsFull, Subscription, TooManyStreams

QUICK_S = 0.01


class Interruptible(UnitOfWork):
    """A database that a test can take away."""

    away = False

    @contextmanager
    def read(self):
        """Read, unless the database is away."""
        if self.away:
            raise DatabaseAway
        with super().read() as tx:
            yield tx


@pytest.fixture
def database(uow):
    """The database, which can be taken away."""
    return Interruptible(uow.engine)


@pytest.fixture
def running(database, monkeypatch):
    """Run a feed while the body runs."""
    monkeypatch.setattr("server.http.event_feed.AWAY_PAUSE_S", QUICK_S)
    monkeypatch.setattr("server.http.event_feed.ATTACH_TIMEOUT_S", 0.2)

    @asynccontextmanager
    async def run(most=100, most_per_user=10):
        def encode(_tx, happened):
            return happened.happening.encode()

        feed = EventFeed(database, encode, period_s=QUICK_S, most=most, most_per_user=most_per_user)
        task = asyncio.create_task(feed.run())
        try:
            yield feed
        finally:
            feed.stop()
            await task

    return run


async def heard(subscription, count):
    """Wait for so many events; return what happened."""
    found = []
    async with asyncio.timeout(20):
        while len(found) < count:
            found += [frame.data.decode() for frame in await subscription.frames(1)]
    return found


class TestReader:
    def test_what_happens_while_the_database_is_away_comes_afterwards(
        self, running, database, uow, make_account, submit_one, claim
    ):
        """A reader that cannot read for a while goes on where it was."""
        account = make_account()
        generation = submit_one(account)

        async def follow():
            async with running() as feed:
                with feed.subscription(account.user_id, generation.id) as subscription:
                    await subscription.position()
                    database.away = True
                    settlement.release(uow, claim())
                    assert await subscription.frames(0.1) == []
                    database.away = False
                    settlement.cancel(uow, [generation.id])
                    return await heard(subscription, 2)

        assert asyncio.run(follow()) == ["queued", "failed"]

    def test_nobody_joins_while_the_database_is_away(self, running, database):
        """Without a database a new stream is refused as every request is."""
        database.away = True

        async def join():
            async with running() as feed:
                with feed.subscription("ada") as subscription, pytest.raises(DatabaseAway):
                    await subscription.position()

        asyncio.run(join())

    def test_it_reads_only_while_somebody_listens(self, running, database, make_account, submit_one):
        """Without a stream the reader asks nothing; whoever comes next hears what happens from then on."""
        account = make_account()

        async def come_and_go():
            async with running() as feed:
                with feed.subscription(account.user_id) as first:
                    await first.position()
                async with asyncio.timeout(20):
                    while feed._tail.position is not None:  # noqa: ASYNC110  # no event says it
                        await asyncio.sleep(QUICK_S)
                database.away = True  # would be logged
                submit_one(account)
                await asyncio.sleep(5 * QUICK_S)
                database.away = False
                with feed.subscription(account.user_id) as second:
                    await second.position()
                    assert await second.frames(5 * QUICK_S) == []
                    submit_one(account)
                    return await heard(second, 1)

        assert asyncio.run(come_and_go()) == ["queued"]


class TestLimits:
    def test_nothing_is_left_of_a_refused_stream(self, running):
        """A stream that is refused counts nowhere; after a stop all are."""

        async def fill():
            async with running(most=3, most_per_user=2) as feed:
                with feed.subscription("ada"), feed.subscription("ada"):
                    with pytest.raises(TooManyStreams) as refused, feed.subscription("ada"):
                        pass
                    with feed.subscription("eve"):
                        assert refused.value.limit == 2
                        with pytest.raises(StreamsFull), feed.subscription("bob"):
                            pass
                        assert feed.open_streams == 3
                assert feed.open_streams == 0
                with feed.subscription("ada") as one:
                    feed.stop()
                    assert one.ended
                with pytest.raises(StreamsFull), feed.subscription("ada"):
                    pass
                assert not feed._streams_of
                assert not feed._users

        asyncio.run(fill())


class TestBuffer:
    def test_a_full_buffer_ends_the_subscription_after_what_it_has(self):
        """The first so many events stay, the next one is not taken, and nothing after it."""

        async def push():
            subscription = Subscription("ada", None)
            for number in range(BUFFER + 5):
                subscription.push(Frame(number, "g", "ada", is_final=False, data=b""))
            frames = await subscription.frames(1)
            assert [frame.id for frame in frames] == list(range(BUFFER))
            assert subscription.ended
            assert await subscription.frames(1) == []

        asyncio.run(push())
