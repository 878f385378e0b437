import re
import threading

import httpx
import pytest

from inference.scripted import Script
from server.events.repository import Events
from server.events.tables import Kind
from server.generations import settlement
from server.generations.states import Reason
from tests.server.routes.streams import PREFIX, messages, names, path_of, turns

SECRETS = re.compile("worker-|scripted|portrait|provider", re.IGNORECASE)


class TestOneGeneration:
    def test_the_stream_tells_its_way_and_ends(self, live, make_account, submit_one, complete):
        """A stream opened while it waits tells of each thing as it happens, and ends after the last."""
        account = make_account()
        generation = submit_one(account)
        with live.stream(account, path_of(generation)) as stream:
            first = next(stream)
            ended = complete(generation)
            rest = [message for message in stream if message.event]
        assert first.event == "queued"
        assert first.data["generationId"] == generation.id
        assert (first.data["position"], first.data["again"]) == (1, False)
        assert names(rest) == ["step", "step", "completed"]
        assert [(one.data["step"], one.data["steps"], one.data["phase"]) for one in rest[:2]] == [
            (3, 28, "step"),
            (9, 28, "step"),
        ]
        last = rest[-1].data
        assert last["avatarId"] == ended.avatar_id
        assert last["credits"] == 8
        assert last["imageUrl"].startswith("/uploads/avatar-creator/")
        assert last["imageUrl"].endswith(".png")
        assert last["thumbnailUrl"] != last["imageUrl"]

    def test_a_failure_says_why_and_what_came_back(self, live, uow, make_account, submit_one, claim):
        """The last event of a failed generation has its code, its message and the credits given back."""
        account = make_account()
        generation = submit_one(account)
        settlement.fail(uow, claim(), Reason.OUT_OF_MEMORY, "The image is too large.")
        last = live.read(account, path_of(generation))[-1]
        assert last.event == "failed"
        assert last.data["reason"] == "OUT_OF_MEMORY"
        assert last.data["message"] == "OUT_OF_MEMORY: The image is too large."
        assert last.data["creditsGivenBack"] == 8

    def test_a_lost_worker_is_a_second_queueing(
        self, live, uow, make_account, submit_one, make_runner, claim
    ):
        """A worker lost in between shows as queued again, and the stream goes on with the next attempt."""
        account = make_account()
        generation = submit_one(account)
        with live.stream(account, path_of(generation)) as stream:
            next(stream)
            claim("worker-1")
            settlement.return_lost(uow, "worker-1")
            assert make_runner(Script()).run_next()
            rest = [message for message in stream if message.event]
        assert turns(rest) == ["queued", "started", "completed"]
        assert rest[0].data["again"] is True
        assert rest[1].data["attempt"] == 2

    def test_it_tells_nothing_of_the_inside(self, live, uow, make_account, submit_one, make_runner, claim):
        """No worker's name, no provider, no backend and no prompt is in a stream."""
        account = make_account()
        generation = submit_one(account)
        held = claim("worker-1")
        settlement.fail_over(uow, held, Reason.AI_PROVIDER_ERROR, "provider fal-ai says no")
        assert make_runner(Script()).run_next()
        with live.client(account) as client:
            text = client.get(f"{PREFIX}/{path_of(generation)}").text
        assert turns(messages(text.splitlines())) == ["queued", "queued", "started", "completed"]
        assert not SECRETS.search(text)

    def test_both_prefixes_serve_it(self, live, make_account, submit_one, complete):
        """The stream is the same under both prefixes."""
        account = make_account()
        generation = submit_one(account)
        complete(generation)
        with live.client(account) as client:
            texts = {
                client.get(f"{prefix}/{path_of(generation)}").text
                for prefix in (PREFIX, "/api/apps/avatar-creator")
            }
        assert len(texts) == 1


class TestResuming:
    def test_after_any_event_the_rest_follows_once(self, live, make_account, submit_one, complete):
        """Resumed after each of its ids, a stream brings exactly what follows in the whole."""
        account = make_account()
        generation = submit_one(account)
        complete(generation, steps=range(1, 9))
        whole = live.read(account, path_of(generation))
        assert len(whole) == 10
        for cut in range(len(whole) - 1):
            assert live.read(account, path_of(generation), whole[cut].id) == whole[cut + 1 :]

    def test_cut_anywhere_while_it_happens(self, live, make_account, submit_one, complete):
        """A client that hangs up after every event and resumes gets each once, whatever happens meanwhile."""
        account = make_account()
        generation = submit_one(account)
        drawing = threading.Thread(target=complete, args=(generation, range(1, 20)))
        seen, last = [], None
        drawing.start()
        while not seen or seen[-1].event != "completed":
            with live.stream(account, path_of(generation), last) as stream:
                seen.append(next(message for message in stream if message.event))
            last = seen[-1].id
        drawing.join()
        whole = live.read(account, path_of(generation))
        assert [(one.id, one.event) for one in seen] == [(one.id, one.event) for one in whole]

    def test_who_knows_all_is_told_to_come_no_more(self, live, make_account, submit_one, complete):
        """After the last event of an ended generation the answer is 204, which tells browsers to stop."""
        account = make_account()
        generation = submit_one(account)
        complete(generation)
        last = live.read(account, path_of(generation))[-1].id
        with live.client(account) as client:
            answer = client.get(f"{PREFIX}/{path_of(generation)}", headers={"Last-Event-ID": str(last)})
            by_query = client.get(f"{PREFIX}/{path_of(generation)}?lastEventId={last}")
        assert (answer.status_code, answer.content) == (204, b"")
        assert by_query.status_code == 204

    def test_what_is_no_id_is_refused(self, live, make_account, submit_one, subtests):
        """A Last-Event-ID that is no event's id is a 400 that names it."""
        account = make_account()
        generation = submit_one(account)
        for wrong in ("abc", "-1", "1.5", "9" * 19, "9" * 5000, "0x10"):
            with subtests.test(wrong=wrong[:20]), live.client(account) as client:
                answer = client.get(f"{PREFIX}/{path_of(generation)}", headers={"Last-Event-ID": wrong})
                assert answer.status_code == 400
                assert answer.json()["error"]["field"] == "Last-Event-ID"
                answer = client.get(f"{PREFIX}/events?lastEventId={wrong}")
                assert (answer.status_code, answer.json()["error"]["field"]) == (400, "lastEventId")


class TestAllOfAUser:
    def test_it_brings_all_generations_of_the_user_alone(self, live, make_account, submit_one, complete):
        """A user's stream tells of every generation of that user from now on, and of nobody else's."""
        ada, eve = make_account(), make_account()
        before = submit_one(ada)
        with live.stream(ada, "events") as stream:
            assert next(stream).comment == "heartbeat"
            others = submit_one(eve)
            own = submit_one(ada)
            complete(before)
            found = []
            while not found or found[-1].event != "completed":
                message = next(stream)
                found += [message] if message.event else []
        assert {message.data["generationId"] for message in found} == {before.id, own.id}
        assert others.id not in str(found)

    def test_it_resumes_after_any_event(self, live, make_account, submit_one, complete):
        """Resumed after each id, it brings what followed, in order, and then goes on."""
        account = make_account()
        for generation in [submit_one(account) for _ in range(3)]:
            complete(generation)
        with live.stream(account, "events", last=0) as stream:
            whole = [next(stream) for _ in range(12)]
        assert [message.id for message in whole] == sorted(message.id for message in whole)
        for cut in range(len(whole)):
            with live.stream(account, "events", last=whole[cut].id) as stream:
                rest = [next(stream) for _ in range(len(whole) - cut - 1)]
                assert next(stream).comment == "heartbeat"
            assert rest == whole[cut + 1 :]

    def test_an_id_that_commits_late_is_not_missed(self, live, uow, make_account, submit_one, settings):
        """On PostgreSQL an event whose transaction ends late comes before those with greater ids."""
        if uow.engine.dialect.name == "sqlite":
            pytest.skip("SQLite has one writer")
        account = make_account()
        generation = submit_one(account)
        with live.stream(account, "events") as stream:
            next(stream)
            with uow.begin() as late:
                Events(late).append(generation.id, Kind.LOST, attempt=1)
                submit_one(account)
                silent = [next(stream) for _ in range(3)]
            found = [next(message for message in stream if message.event) for _ in range(2)]
        assert names(silent) == []
        assert [message.data["again"] for message in found] == [True, False]
        assert found[0].id < found[1].id


class TestTenancy:
    def test_another_s_generation_is_not_found(self, live, make_account, submit_one):
        """Another user's generation, one that never was and a missing token are refused before the stream."""
        ada, eve = make_account(), make_account()
        generation = submit_one(ada)
        with live.client(eve) as client:
            assert client.get(f"{PREFIX}/{path_of(generation)}").status_code == 404
            assert client.get(f"{PREFIX}/generations/nope/events").status_code == 404
        for path in (path_of(generation), "events"):
            answer = httpx.get(f"{live.url}{PREFIX}/{path}", trust_env=False)
            assert answer.json()["error"]["code"] == "AUTHENTICATION_ERROR"
        assert live.feed.open_streams == 0

    def test_a_deleted_generation_ends_its_stream(self, live, uow, make_account, submit_one):
        """A generation that is cancelled and deleted in one transaction ends its stream."""
        account = make_account()
        generation = submit_one(account)
        with live.stream(account, path_of(generation)) as stream:
            next(stream)
            with uow.begin() as tx:
                (cancelled,) = settlement.cancel_within(tx, [generation.id])
                tx.session.delete(cancelled)
            assert names(stream) == []


class TestKeepingAlive:
    def test_silence_is_filled_with_comments(self, live, make_account, submit_one):
        """While nothing happens, a comment comes each period: no data, no id."""
        account = make_account()
        generation = submit_one(account)
        with live.stream(account, path_of(generation)) as stream:
            next(stream)
            silence = [next(stream) for _ in range(3)]
        assert {(one.event, one.id, one.data, one.comment) for one in silence} == {("", 0, None, "heartbeat")}

    def test_redis_is_not_needed(self, live, make_account, submit_one, complete, redis_server):
        """With Redis stopped, everything still comes."""
        account = make_account()
        generation = submit_one(account)
        with live.stream(account, path_of(generation)) as stream:
            next(stream)
            redis_server.stop()
            try:
                complete(generation)
                assert names(stream) == ["step", "step", "completed"]
            finally:
                redis_server.start()
