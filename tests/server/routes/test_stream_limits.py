"""Readers that leave, that are slow, and that are too many."""

import asyncio
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx

from server.events.repository import Events
from server.events.tables import Kind
from server.generations import settlement
from server.generations.states import Reason
from server.http.event_feed import BUFFER
from tests.databases import ONE_DATABASE
from tests.server.routes.streams import PREFIX, names, path_of, wait_until

pytestmark = ONE_DATABASE

FLOOD = 1200


class TestLeaving:
    def test_a_client_that_leaves_leaves_nothing_behind(self, live, make_account, submit_one):
        """After a client has hung up, its stream is gone: no subscription, no task."""
        account = make_account()
        generation = submit_one(account)
        for path in (path_of(generation), "events"):
            with live.stream(account, path) as stream:
                next(stream)
                assert live.feed.open_streams == 1
            wait_until(lambda: live.feed.open_streams == 0)
        wait_until(lambda: not live.server.server_state.tasks)

    def test_shutdown_ends_streams_and_waits_for_none(self, live, make_account, submit_one):
        """When the server stops, open streams end as a complete answer; so does a waiting request."""
        account = make_account()
        generation = submit_one(account)
        with ThreadPoolExecutor(1) as threads, live.client(account) as client:
            waiting = threads.submit(client.get, f"{PREFIX}/generations/{generation.id}?wait=60")
            with live.stream(account, path_of(generation)) as one, live.stream(account, "events") as two:
                next(one)
                next(two)
                wait_until(lambda: live.feed.open_streams == 3)
                live.stop()
                assert names(one) == names(two) == []
            assert waiting.result().json()["generation"]["status"] == "pending"

    def test_shutdown_drops_a_client_that_reads_nothing(self, live, uow, make_account, submit_one, claim):
        """A client that has stopped reading does not hold the server up."""
        account = make_account()
        submit_one(account)
        held = claim()
        with reading_nothing(live, account, "events?lastEventId=0"):
            flood(uow, held)
            wait_until(lambda: is_stuck(live))
            live.server.config.timeout_graceful_shutdown = None  # would wait for ever
            live.stop()


class TestSlowReaders:
    def test_one_that_reads_on_gets_an_end_and_resumes(self, live, uow, make_account, submit_one, claim):
        """A reader too far behind gets what was kept, and an end; resumed, it misses nothing."""
        account = make_account()
        generation = submit_one(account)
        held = claim()
        with reading_nothing(live, account, path_of(generation)) as (connection, read):
            (subscription,) = live.feed._subscriptions
            flood(uow, held)
            wait_until(lambda: subscription.ended)
            settlement.fail(uow, held, Reason.OUT_OF_MEMORY, "Too large.")
            seen = ids(read + rest_of(connection))
        assert len(seen) < FLOOD
        rest = live.read(account, path_of(generation), seen[-1])
        assert rest[-1].event == "failed"
        everything = [one.id for one in live.read(account, path_of(generation))]
        assert seen + [one.id for one in rest] == everything
        assert len(everything) == FLOOD + 2

    def test_one_that_still_reads_the_past_gets_everything(self, live, uow, make_account, submit_one, claim):
        """A reader that is stuck in what was before it came reads all of it, and what happened meanwhile."""
        account = make_account()
        generation = submit_one(account)
        held = claim()
        flood(uow, held)
        with reading_nothing(live, account, path_of(generation), since=b"event: queued") as (
            connection,
            read,
        ):
            (subscription,) = live.feed._subscriptions
            wait_until(lambda: is_stuck(live))
            flood(uow, held, 2 * BUFFER)
            wait_until(lambda: subscription.ended)
            settlement.fail(uow, held, Reason.OUT_OF_MEMORY, "Too large.")
            seen = ids(read + rest_of(connection))
        assert seen == [one.id for one in live.read(account, path_of(generation))]
        assert len(seen) == FLOOD + 2 * BUFFER + 2

    def test_one_that_reads_nothing_is_dropped(self, live, uow, make_account, submit_one, claim, monkeypatch):
        """A client that takes nothing for the time of a send loses its stream, and nothing of it is left."""
        monkeypatch.setattr("server.http.event_stream.SEND_TIMEOUT_S", 0.2)
        account = make_account()
        generation = submit_one(account)
        held = claim()
        with reading_nothing(live, account, path_of(generation)):
            flood(uow, held)
            wait_until(lambda: live.feed.open_streams == 0)
            wait_until(lambda: not live.server.server_state.tasks)

    def test_others_do_not_wait_for_it(self, live, uow, make_account, submit_one, claim):
        """Beside a client that reads nothing, another one gets everything, each event once."""
        account = make_account()
        generation = submit_one(account)
        held = claim()
        seen = []
        with reading_nothing(live, account, path_of(generation)):
            flood(uow, held)
            wait_until(lambda: is_stuck(live))
            settlement.fail(uow, held, Reason.OUT_OF_MEMORY, "Too large.")
            while not seen or seen[-1].event != "failed":
                seen += live.read(account, path_of(generation), seen[-1].id if seen else None)
        assert len(seen) == len({message.id for message in seen}) == FLOOD + 2


class TestLimits:
    def test_a_user_has_so_many(self, serve, make_account, submit_one):
        """One stream more than a user may have is a 429; another user's is not."""
        live = serve(events_streams_per_user=2)
        ada, eve = make_account(), make_account()
        generation = submit_one(ada)
        with live.stream(ada, "events") as one, live.stream(ada, path_of(generation)) as two:
            next(one)
            next(two)
            with live.client(ada) as client:
                refused = client.get(f"{PREFIX}/events")
                waiting = client.get(f"{PREFIX}/generations/{generation.id}?wait=1")
                polled = client.get(f"{PREFIX}/generations/{generation.id}")
            with live.stream(eve, "events") as other:
                next(other)
        assert refused.json()["error"]["code"] == "RATE_LIMIT_EXCEEDED"
        assert refused.headers["retry-after"]
        assert (waiting.status_code, polled.status_code) == (429, 200)
        wait_until(lambda: live.feed.open_streams == 0)
        with live.stream(ada, "events") as again:
            next(again)

    def test_a_process_has_so_many(self, serve, make_account):
        """One stream more than a process may have is a 503 with Retry-After."""
        live = serve(events_streams=1)
        with live.stream(make_account(), "events") as stream:
            next(stream)
            with live.client(make_account()) as client:
                answer = client.get(f"{PREFIX}/events")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
        assert answer.headers["retry-after"]

    def test_a_hundred_streams_at_once(self, live, make_account, submit_one, complete):
        """A hundred streams of twenty users get every event of their generations, without a thread each."""
        accounts = [make_account() for _ in range(20)]
        generations = [submit_one(account) for account in accounts]
        before = threading.active_count()

        async def follow(client, account, generation):
            url = f"{live.url}{PREFIX}/{path_of(generation)}"
            return (await client.get(url, headers=account.headers)).text.count("event: ")

        async def follow_all():
            limits = httpx.Limits(max_connections=None)
            async with httpx.AsyncClient(timeout=60, limits=limits, trust_env=False) as client:
                tasks = [
                    asyncio.create_task(follow(client, account, generation))
                    for account, generation in zip(accounts * 5, generations * 5, strict=True)
                ]
                await asyncio.to_thread(wait_until, lambda: live.feed.open_streams == 100)
                threads = threading.active_count()
                for generation in generations:
                    await asyncio.to_thread(complete, generation)
                return threads, await asyncio.gather(*tasks)

        threads, counts = asyncio.run(follow_all())
        assert set(counts) == {4}
        assert threads - before < 40


@contextmanager
def reading_nothing(live, account, path, since=b": heartbeat"):
    """Open a stream over a socket, and from some bytes on read nothing of it; give what was read up to there.

    After a heartbeat the stream hears of what happens; before, it may still read from the database.
    """
    host, port = live.url.removeprefix("http://").split(":")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(30)
        connection.connect((host, int(port)))
        request = f"GET {PREFIX}/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {account.token}\r\n\r\n"
        connection.sendall(request.encode())
        read = b""
        while since not in read:
            read += connection.recv(4096)
        yield connection, read


def rest_of(connection):
    """Read an answer to its end, and check that it is complete."""
    rest = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert rest.endswith(b"0\r\n\r\n")  # the last chunk
    return rest


def ids(text):
    """Return the ids of events in the order of a stream."""
    return [int(one) for one in re.findall(rb"^id: (\d+)\r$", text, re.MULTILINE)]


def flood(uow, held, count=FLOOD):
    """Append steps, by default more than the buffers of a stream and of its connection hold, in parts."""
    for part in range(0, count, 100):
        with uow.begin() as tx:
            for step in range(part, min(part + 100, count)):
                data = {"attempt": held.attempt, "phase": "step", "step": step, "steps": FLOOD}
                Events(tx).append(held.generation_id, Kind.STEP, **data)


def is_stuck(live):
    """Whether the server waits for a client to read."""
    return any(one.flow.write_paused for one in list(live.server.server_state.connections))
