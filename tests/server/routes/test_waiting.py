from concurrent.futures import ThreadPoolExecutor

import pytest

from catalog.tiers import Tier
from server.generations import settlement
from server.generations.states import Reason
from server.generations.steps import record_step
from server.scheduling.registry import WorkerRegistry
from tests.server.routes.streams import PREFIX, wait_until
from tests.server.stored import provenance_of, stored_image


def path_of(generation, wait=None):
    """Return the path of a generation."""
    return f"{PREFIX}/generations/{generation.id}" + (f"?wait={wait}" if wait is not None else "")


@pytest.fixture
def worker(uow):
    """A worker that is ready, and what it has drawn so far took four seconds each."""
    with uow.begin() as tx:
        WorkerRegistry(tx).record_heartbeat("w-0", "local", accepts=True, mean_duration_s=4.0)


class TestWaiting:
    def test_it_answers_when_the_generation_has_ended(self, live, uow, make_account, submit_one, claim):
        """A waiting request gets the normal body as soon as the generation is completed."""
        account = make_account()
        generation = submit_one(account)
        with ThreadPoolExecutor(1) as threads, live.client(account) as client:
            waiting = threads.submit(client.get, path_of(generation, 60))
            wait_until(lambda: live.feed.open_streams == 1)
            ended = settlement.complete(uow, claim(), stored_image(), provenance_of(generation), {})
            answer = waiting.result().json()["generation"]
            assert answer == client.get(path_of(generation)).json()["generation"]
        assert (answer["status"], answer["avatarId"]) == ("completed", ended.avatar_id)
        wait_until(lambda: live.feed.open_streams == 0)

    def test_it_answers_a_failure_too(self, live, uow, make_account, submit_one):
        """A cancelled generation ends the wait."""
        account = make_account()
        generation = submit_one(account)
        with ThreadPoolExecutor(1) as threads, live.client(account) as client:
            waiting = threads.submit(client.get, path_of(generation, 60))
            wait_until(lambda: live.feed.open_streams == 1)
            settlement.cancel(uow, [generation.id])
            assert waiting.result().json()["generation"]["errorCode"] == "CANCELLED"

    def test_what_has_ended_is_answered_at_once(self, live, uow, make_account, submit_one):
        """Of a generation that has ended, nothing is waited for."""
        account = make_account()
        generation = submit_one(account)
        settlement.cancel(uow, [generation.id])
        with live.client(account) as client:
            assert client.get(path_of(generation, 60)).json()["generation"]["status"] == "failed"

    def test_after_its_time_it_answers_what_is(self, live, make_account, submit_one):
        """When the time is over, the answer is the generation as it is."""
        account = make_account()
        generation = submit_one(account)
        with live.client(account) as client:
            for wait in (0, 1):
                assert client.get(path_of(generation, wait)).json()["generation"]["status"] == "pending"

    def test_a_client_that_leaves_ends_the_wait(self, live, make_account, submit_one):
        """A client that has hung up is waited for no more."""
        account = make_account()
        generation = submit_one(account)
        client = live.client(account)
        client.timeout = 0.3
        with pytest.raises(Exception, match="timed out"):
            client.get(path_of(generation, 60))
        client.close()
        wait_until(lambda: live.feed.open_streams == 0)

    def test_a_wrong_wait_is_refused(self, live, make_account, submit_one, subtests):
        """A wait below 0, above 60 or that is no whole number is a 400 that names it."""
        account = make_account()
        generation = submit_one(account)
        for wrong in ("-1", "61", "1e9", "abc", "1.5", ""):
            with subtests.test(wrong=wrong), live.client(account) as client:
                answer = client.get(path_of(generation, wrong))
                assert answer.status_code == 400
                assert answer.json()["error"]["field"] == "wait"

    def test_another_s_generation_is_not_found(self, live, make_account, submit_one):
        """Nobody waits for another user's generation."""
        generation = submit_one(make_account())
        with live.client(make_account()) as client:
            assert client.get(path_of(generation, 60)).status_code == 404


class TestProgress:
    def read(self, api, account, generation):
        """Read a generation from the API."""
        return api.client.get(path_of(generation), headers=account.headers).json()["generation"]

    @pytest.mark.usefixtures("worker")
    def test_what_waits_says_its_place_and_time(self, api, make_account, submit_one):
        """Behind one other: second in the queue, and the seconds of both."""
        submit_one(make_account())
        account = make_account()
        progress = self.read(api, account, submit_one(account))["progress"]
        assert progress == {
            "phase": "queued",
            "step": 0,
            "steps": 28,
            "queuePosition": 2,
            "estimatedSecondsLeft": 4.0 + 37.5,  # the worker's mean, and the middle of 30-45s
        }

    def test_without_a_worker_nobody_knows_the_time(self, api, make_account, submit_one):
        """While no worker is there, the seconds are null and the place is known."""
        account = make_account()
        progress = self.read(api, account, submit_one(account))["progress"]
        assert (progress["queuePosition"], progress["estimatedSecondsLeft"]) == (1, None)

    def test_what_is_drawn_says_its_step(self, api, uow, make_account, submit_one, claim):
        """Before the first report it is starting; then it has the phase and the step of the last one."""
        account = make_account()
        generation = submit_one(account)
        held = claim()
        progress = self.read(api, account, generation)["progress"]
        assert (progress["phase"], progress["step"], progress["queuePosition"]) == ("starting", 0, None)
        record_step(uow, held, "step", 14, 28)
        progress = self.read(api, account, generation)["progress"]
        assert (progress["phase"], progress["step"], progress["steps"]) == ("step", 14, 28)
        assert progress["estimatedSecondsLeft"] == pytest.approx(37.5 / 2, abs=0.1)

    def test_a_step_of_a_lost_attempt_counts_no_more(self, api, uow, make_account, submit_one, claim):
        """Queued again and claimed again, a generation starts anew."""
        account = make_account()
        generation = submit_one(account)
        record_step(uow, claim("worker-1"), "step", 14, 28)
        settlement.return_lost(uow, "worker-1")
        assert self.read(api, account, generation)["progress"]["phase"] == "queued"
        claim("worker-2")
        assert self.read(api, account, generation)["progress"]["phase"] == "starting"

    def test_what_has_ended_has_none(self, api, uow, make_account, submit_one, claim):
        """A completed generation has the paths of its image; a failed one has neither paths nor progress."""
        account = make_account(Tier.FREE)
        done, failed = submit_one(account), submit_one(account)
        settlement.complete(uow, claim(), stored_image(), provenance_of(done), {})
        settlement.fail(uow, claim(), Reason.OUT_OF_MEMORY, "Too large.")
        answer = self.read(api, account, done)
        assert answer["progress"] is None
        avatar = api.client.get(f"{PREFIX}/avatars/{answer['avatarId']}", headers=account.headers)
        assert answer["imageUrl"] == avatar.json()["avatar"]["baseImageUrl"]
        assert answer["thumbnailUrl"] == avatar.json()["avatar"]["thumbnailUrl"]
        answer = self.read(api, account, failed)
        assert (answer["progress"], answer["imageUrl"], answer["thumbnailUrl"]) == (None, None, None)


class TestPreview:
    def test_a_preview_of_what_is_drawn(self, api, uow, make_account, submit_one, claim):
        """The first look finds none; then a JPEG comes with the step that it shows, until the end."""
        account = make_account()
        generation = submit_one(account)
        path, headers = f"{path_of(generation)}/preview", account.headers
        answer = api.client.get(path, headers=headers)
        assert (answer.status_code, answer.content) == (204, b"")
        held = claim()
        record_step(uow, held, "step", 7, 28, b"a picture")
        answer = api.client.get(path, headers=headers)
        assert (answer.status_code, answer.content) == (200, b"a picture")
        assert (answer.headers["content-type"], answer.headers["x-step"]) == ("image/jpeg", "7")
        assert answer.headers["cache-control"] == "no-store"
        api.refused(api.client.get(path, headers=make_account().headers), 404, "RESOURCE_NOT_FOUND")
        settlement.complete(uow, held, stored_image(), provenance_of(generation), {})
        api.refused(api.client.get(path, headers=headers), 404, "RESOURCE_NOT_FOUND")
