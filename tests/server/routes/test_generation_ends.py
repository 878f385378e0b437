"""What a user does with generations once they are accepted: list, cancel and delete them."""

import pytest

from server.errors import NotFound
from server.events.repository import Events
from server.generations import settlement
from server.generations.claims import LeaseLost
from server.generations.repository import Generations
from server.generations.tables import Generation
from tests.server.stored import provenance_of, stored_image

PREFIX = "/api/avatar-creator"

pytestmark = pytest.mark.usefixtures("books_that_balance")


def listed(api, account, **query):
    """Return the ids of a page of generations, and its description."""
    answer = api.client.get(f"{PREFIX}/generations", params=query, headers=account.headers)
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()["generations"]], answer.json()["meta"]


def act(api, account, method, generation_id, action=""):
    """Cancel or delete a generation."""
    path = f"{PREFIX}/generations/{generation_id}{action}"
    return api.client.request(method, path, headers=account.headers)


class TestList:
    def test_newest_first_in_pages(self, api, make_account, submit_one):
        """Pages follow each other without gap or repeat, also when something new comes in between."""
        account = make_account(credits=100)
        ids = [submit_one(account).id for _ in range(5)][::-1]
        first, meta = listed(api, account, limit=2)
        assert (first, meta["limit"], meta["hasMore"]) == (ids[:2], 2, True)
        submit_one(account)
        second, meta = listed(api, account, limit=2, cursor=meta["nextCursor"])
        assert second == ids[2:4]
        third, meta = listed(api, account, limit=2, cursor=meta["nextCursor"])
        assert (third, meta["hasMore"], meta["nextCursor"]) == (ids[4:], False, None)

    def test_equal_times(self, api, make_account, submit_one, uow):
        """Generations of one moment are in pages, too, each once."""
        account = make_account(credits=100)
        ids = {submit_one(account).id for _ in range(4)}
        with uow.begin() as tx:
            moment = None
            for generation_id in ids:
                generation = tx.session.get(Generation, generation_id)
                moment = moment or generation.created_at
                generation.created_at = moment
        first, meta = listed(api, account, limit=3)
        second, _ = listed(api, account, limit=3, cursor=meta["nextCursor"])
        assert (len(first), len(second), {*first, *second}) == (3, 1, ids)

    def test_by_status_and_project(self, api, make_account, submit_one, claim):
        """The list can be restricted to a status and to a project."""
        account, other = make_account(), make_account()
        running, waiting = submit_one(account), submit_one(account)
        claim()
        assert listed(api, account, status="pending")[0] == [waiting.id]
        assert listed(api, account, status="processing")[0] == [running.id]
        assert listed(api, account, projectId=account.project_id)[0] == [waiting.id, running.id]
        assert listed(api, account, projectId=other.project_id)[0] == []

    def test_another_users_are_not_there(self, api, make_account, submit_one):
        """A user sees only generations of his own."""
        submit_one(make_account())
        assert listed(api, make_account())[0] == []

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ({"limit": "0"}, "limit"),
            ({"limit": "101"}, "limit"),
            ({"limit": "many"}, "limit"),
            ({"status": "done"}, "status"),
            ({"projectId": "p" * 65}, "projectId"),
            ({"cursor": "nonsense"}, "cursor"),
            ({"cursor": "MjAyNi0xMS0yNSBh"}, "cursor"),
            ({"cursor": "c" * 201}, "cursor"),
            ({"cursor": "ä"}, "cursor"),
        ],
    )
    def test_bad_queries(self, api, make_account, query, field):
        """A query that breaks a rule is refused by its name."""
        answer = api.client.get(f"{PREFIX}/generations", params=query, headers=make_account().headers)
        api.refused(answer, 400, "VALIDATION_ERROR", field)


class TestCancel:
    def test_one_that_waits(self, api, make_account, submit_one):
        """A pending generation is cancelled at once, and its hold comes back."""
        account = make_account(credits=20)
        generation = submit_one(account)
        answer = act(api, account, "POST", generation.id, "/cancel")
        assert answer.status_code == 200
        body = answer.json()
        assert (body["message"], body["creditBalance"]) == ("Generation cancelled", 20)
        assert (body["generation"]["status"], body["generation"]["errorCode"]) == ("failed", "CANCELLED")
        assert body["generation"]["errorMessage"].startswith("CANCELLED: ")
        assert api.account(account) == (20, 0)

    def test_one_that_is_drawn(self, api, make_account, submit_one, claim, uow):
        """A running generation is cancelled, and its worker is fenced out."""
        account = make_account(credits=20)
        generation = submit_one(account)
        held = claim()
        assert act(api, account, "POST", generation.id, "/cancel").status_code == 200
        assert api.account(account) == (20, 0)
        with pytest.raises(LeaseLost), uow.read() as tx:
            Generations(tx).check_lease(held)
        with pytest.raises(LeaseLost):
            settlement.complete(uow, held, stored_image(), provenance_of(generation), {})

    def test_one_that_has_ended(self, api, make_account, submit_one, claim, uow):
        """A completed or failed generation is not cancelled again, and no credit moves."""
        account = make_account(credits=20)
        completed, failed = submit_one(account), submit_one(account)
        settlement.complete(uow, claim(), stored_image(), provenance_of(completed), {})
        act(api, account, "POST", failed.id, "/cancel")
        for generation in (completed, failed):
            api.refused(act(api, account, "POST", generation.id, "/cancel"), 409, "CONFLICT")
        assert api.account(account) == (12, 0)

    def test_from_many_threads_it_is_given_back_once(self, api, make_account, submit_one, at_once):
        """Of sixteen cancellations at once one succeeds."""
        account = make_account(credits=20)
        generation = submit_one(account)
        answers = at_once(16, lambda: act(api, account, "POST", generation.id, "/cancel"))
        assert sorted(answer.status_code for answer in answers) == [200] + [409] * 15
        assert api.account(account) == (20, 0)


class TestDelete:
    def test_one_that_has_ended(self, api, make_account, submit_one, claim, uow):
        """A completed generation is deleted; its avatar and its events stay."""
        account = make_account()
        generation = submit_one(account)
        completed = settlement.complete(uow, claim(), stored_image(), provenance_of(generation), {})
        assert act(api, account, "DELETE", generation.id).json() == {
            "message": "Generation deleted successfully"
        }
        api.refused(act(api, account, "GET", generation.id), 404, "RESOURCE_NOT_FOUND")
        avatar = api.client.get(f"{PREFIX}/avatars/{completed.avatar_id}", headers=account.headers)
        assert avatar.status_code == 200
        with uow.read() as tx:
            assert [event.kind for event in Events(tx).of(generation.id)][-1] == "completed"

    def test_one_that_is_drawn(self, api, make_account, submit_one, claim, uow):
        """A running generation is cancelled first: its hold comes back and its worker is fenced out."""
        account = make_account(credits=20)
        generation = submit_one(account)
        held = claim()
        assert act(api, account, "DELETE", generation.id).status_code == 200
        assert api.account(account) == (20, 0)
        with pytest.raises(LeaseLost):
            settlement.complete(uow, held, stored_image(), provenance_of(generation), {})
        with pytest.raises(NotFound), uow.read() as tx:
            Generations(tx).owned_by(account.user_id, generation.id)


class TestStrangers:
    @pytest.mark.parametrize(("method", "action"), [("GET", ""), ("DELETE", ""), ("POST", "/cancel")])
    @pytest.mark.parametrize("kind", ["another's", "unknown", "malformed"])
    def test_what_is_not_ones_own_does_not_exist(self, api, make_account, submit_one, method, action, kind):
        """Another user's generation answers as one that does not exist, and nothing happens to it."""
        owner = make_account()
        generation = submit_one(owner)
        generation_id = {
            "another's": generation.id,
            "unknown": "00000000-0000-0000-0000-000000000000",
            "malformed": "..%2f",
        }[kind]
        answer = act(api, make_account(), method, generation_id, action)
        if kind == "malformed":
            assert answer.status_code == 404
        else:
            assert api.refused(answer, 404, "RESOURCE_NOT_FOUND")["message"] == "Generation not found"
        assert api.account(owner) == (92, 8)
