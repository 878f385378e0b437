import json

import pytest
import sqlalchemy

from server.avatars.repository import Avatars
from server.images.store import ImageStore
from server.projects.repository import Projects
from server.projects.tables import Project
from server.routes.avatars import MAX_OFFSET
from tests.server.stored import add_avatar, add_drawn_avatar, avatar_of

PREFIXES = ["/api/avatar-creator", "/api/apps/avatar-creator"]
PREFIX = PREFIXES[0]
TRAITS = {
    "personaName": "Ada L",
    "personaAge": 36,
    "personaBackground": "b" * 500,
    "gender": "female",
    "ageRange": "adult",
    "ethnicity": "e",
    "bodyType": "b",
    "hairStyle": "h" * 50,
    "hairColor": "c",
    "eyeColor": "",
    "skinTone": "s",
    "style": "t",
}
BAD = {
    "name": ["", "  ", "n" * 101, 7, None, "A\0da"],
    "gender": ["Male", "", 1],
    "ageRange": ["old", "20-30"],
    "personaName": ["n" * 101, 1, "n\0"],
    "personaAge": [0, 121, "30", 30.0, True],
    "personaPersonality": [
        *("calm", "", "[", '{"a": 1}', '"calm"', "7", "[1]", '["calm\\u0000"]', '["\\ud800"]', "[" * 9999),
        *(["c"] * 11, ["c" * 51], ["calm", 1], ["calm", "c\0"], {"a": 1}, 7, json.dumps(["c" * 51])),
    ],
    "personaBackground": ["b" * 501, 1, "b\0"],
    "style": ["w" * 51, 1, "w\0"],
}


@pytest.fixture
def images(settings):
    """The image store of the application."""
    return ImageStore(settings.server.images_dir)


@pytest.fixture
def listed(api):
    """List an account's avatars."""

    def read(account, query="", prefix=PREFIX):
        answer = api.client.get(f"{prefix}/avatars{query}", headers=account.headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return read


@pytest.fixture
def statements():
    """The statements that are sent to any database."""
    sent = []

    def look(_connection, _cursor, statement, *_):
        sent.append(statement)

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", look)
    yield sent
    sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", look)


class TestList:
    def test_newest_first_and_only_ones_own(self, api, uow, make_account, listed):
        """All of the caller's avatars of all projects are listed with their projects, newest first."""
        account, other = make_account(), make_account()
        second = Project(id="second", user_id=account.user_id, name="Second")
        with uow.begin() as tx:
            Projects(tx).add(second)
        avatars = [add_avatar(uow, account), add_avatar(uow, account, project_id="second")]
        avatars.append(add_avatar(uow, account))
        add_avatar(uow, other)
        for prefix in PREFIXES:
            found = listed(account, prefix=prefix)
            assert [one["id"] for one in found["avatars"]] == [one.id for one in reversed(avatars)]
            assert [one["project"]["name"] for one in found["avatars"]] == ["Test", "Second", "Test"]
            assert found["meta"] == {"total": 3, "limit": None, "offset": 0, "hasMore": False}
        path = f"{PREFIX}/avatars/{avatars[1].id}"
        assert api.client.get(path, headers=account.headers).json()["avatar"] == found["avatars"][1]

    def test_pages(self, uow, make_account, listed, subtests):
        """Limit and offset select a page; meta says how many avatars there are and whether more follow."""
        account = make_account()
        ids = [add_avatar(uow, account).id for _ in range(5)][::-1]
        for query, page, more in [
            ("?limit=2", ids[:2], True),
            ("?limit=2&offset=2", ids[2:4], True),
            ("?limit=2&offset=4", ids[4:], False),
            ("?limit=5", ids, False),
            ("?limit=100", ids, False),
            ("?offset=3", ids[3:], False),
            ("?limit=2&offset=3", ids[3:], False),
            ("?offset=5", [], False),
            (f"?limit=1&offset={MAX_OFFSET}", [], False),
            ("?limit=1&unknown=7", ids[:1], True),
        ]:
            with subtests.test(query=query):
                found = listed(account, query)
                assert [one["id"] for one in found["avatars"]] == page
                assert (found["meta"]["total"], found["meta"]["hasMore"]) == (5, more)

    def test_nothing(self, make_account, listed):
        """A user without avatars gets an empty list."""
        found = listed(make_account(), "?limit=10")
        assert found == {"avatars": [], "meta": {"total": 0, "limit": 10, "offset": 0, "hasMore": False}}

    def test_a_bad_bound_is_refused(self, api, make_account, subtests):
        """A limit or offset that is no number or out of bounds is refused with its name."""
        account = make_account()
        bad = {
            "limit": ["0", "101", "-1", "ten", "1.5", "%00", "9" * 30, "0x10", "٣x"],
            "offset": ["-1", "ten", "0.5", str(MAX_OFFSET + 1), "9" * 30, "%00"],
        }
        for field, value in ((field, value) for field, values in bad.items() for value in values):
            with subtests.test(field=field, value=value):
                answer = api.client.get(f"{PREFIX}/avatars?{field}={value}", headers=account.headers)
                api.refused(answer, 400, "VALIDATION_ERROR", field)

    def test_the_number_of_statements_does_not_grow(self, api, uow, make_account, listed, statements):
        """A list of 1,000 avatars takes as many statements as one of a single avatar, in every route."""
        few, many = make_account(), make_account()
        for account, number in ((few, 1), (many, 1000)):
            with uow.begin() as tx:
                tx.session.add_all([avatar_of(account) for _ in range(number)])
        sent = []
        for account in (few, many):
            for path in ("avatars", "projects", f"projects/{account.project_id}", "stats"):
                statements.clear()
                answer = api.client.get(f"{PREFIX}/{path}", headers=account.headers)
                assert answer.status_code == 200
                sent.append([one for one in statements if "FROM avatars" in one or "FROM projects" in one])
        assert [len(one) for one in sent] == [2, 2, 2, 3] * 2
        assert len(listed(many)["avatars"]) == 1000


class TestUpdate:
    def test_every_field(self, api, uow, make_account):
        """Each field changes alone and keeps the others; null removes a trait."""
        account = make_account()
        avatar = add_avatar(uow, account)
        path = f"{PREFIX}/avatars/{avatar.id}"
        expected = api.client.get(path, headers=account.headers).json()["avatar"]
        changes = [{"name": "  New \n name "}, *({name: value} for name, value in TRAITS.items())]
        changes += [{name: None} for name in TRAITS]
        for change in changes:
            answer = api.client.put(path, json=change, headers=account.headers)
            assert answer.status_code == 200, answer.text
            assert answer.json().keys() == {"message", "avatar"}
            updated = answer.json()["avatar"]
            expected |= change | {"updatedAt": updated["updatedAt"]}
            expected["name"] = "New name"
            assert updated == expected
        assert api.client.get(path, headers=account.headers).json()["avatar"] == updated

    def test_several_fields_at_once(self, api, uow, make_account):
        """All fields of a request change together, under both prefixes; unknown ones are ignored."""
        account = make_account()
        avatar = add_avatar(uow, account)
        for prefix in PREFIXES:
            body = TRAITS | {"name": "New", "id": "other", "userId": "other", "usageCount": 9, "seedUsed": 1}
            answer = api.client.put(f"{prefix}/avatars/{avatar.id}", json=body, headers=account.headers)
            updated = answer.json()["avatar"]
            assert updated.items() >= TRAITS.items()
            assert (updated["name"], updated["id"], updated["userId"]) == ("New", avatar.id, account.user_id)
            assert (updated["usageCount"], updated["seedUsed"]) == (0, 2**32 - 1)
            assert updated["project"] == {"id": account.project_id, "name": "Test"}

    def test_the_personality_is_a_list_or_json_text(self, api, uow, make_account, subtests):
        """A personality is accepted as a list and as JSON text, and always answered as JSON text."""
        account = make_account()
        path = f"{PREFIX}/avatars/{add_avatar(uow, account).id}"
        for value, words in [
            (["calm", "kind"], '["calm", "kind"]'),
            ('["kind"]', '["kind"]'),
            ("[]", "[]"),
            ([], "[]"),
            ('["\\u00e9"]', '["\\u00e9"]'),
            ("null", None),
            (["c" * 50] * 10, json.dumps(["c" * 50] * 10)),
            (None, None),
        ]:
            with subtests.test(value=repr(value)[:20]):
                answer = api.client.put(path, json={"personaPersonality": value}, headers=account.headers)
                assert answer.status_code == 200, answer.text
                assert answer.json()["avatar"]["personaPersonality"] == words
        read = api.client.get(path, headers=account.headers).json()["avatar"]["personaPersonality"]
        answer = api.client.put(path, json={"personaPersonality": read}, headers=account.headers)
        assert answer.json()["avatar"]["personaPersonality"] == read

    def test_bad_input_is_refused(self, api, uow, make_account, subtests):
        """A value that breaks its field's rule is refused by name, and the avatar stays as it was."""
        account = make_account()
        path = f"{PREFIX}/avatars/{add_avatar(uow, account).id}"
        before = api.client.get(path, headers=account.headers).json()
        for field, value in ((field, value) for field, values in BAD.items() for value in values):
            with subtests.test(field=field, value=repr(value)[:30]):
                body = {"name": "New", "style": "new"} | {field: value}
                answer = api.client.put(path, json=body, headers=account.headers)
                error = api.refused(answer, 400, "VALIDATION_ERROR", field)
                assert error["details"].keys() == {field}
        assert api.client.get(path, headers=account.headers).json() == before


class TestDelete:
    @pytest.mark.parametrize("prefix", PREFIXES)
    def test_row_and_files(self, api, uow, images, make_account, prefix):
        """A deleted avatar and its images are not found; its project and the other avatars stay."""
        account = make_account()
        avatar, other = (add_drawn_avatar(uow, images, account) for _ in range(2))
        path = f"{prefix}/avatars/{avatar.id}"
        shown = api.client.get(path, headers=account.headers).json()["avatar"]
        files = [shown["baseImageUrl"], shown["thumbnailUrl"]]
        assert [api.client.get(file).status_code for file in files] == [200, 200]
        answer = api.client.delete(path, headers=account.headers)
        assert (answer.status_code, answer.json()) == (200, {"message": "Avatar deleted successfully"})
        api.refused(api.client.get(path, headers=account.headers), 404, "RESOURCE_NOT_FOUND")
        api.refused(api.client.delete(path, headers=account.headers), 404, "RESOURCE_NOT_FOUND")
        assert [api.client.get(file).status_code for file in files] == [404, 404]
        (left,) = api.client.get(f"{prefix}/projects", headers=account.headers).json()["projects"]
        assert [one["id"] for one in left["avatars"]] == [other.id]
        assert api.client.get(left["avatars"][0]["baseImageUrl"]).status_code == 200

    def test_its_generation_stays_readable(self, api, uow, make_account, submit_one, deliver):
        """A completed generation whose avatar was deleted still says which one it was."""
        account = make_account()
        generation = deliver(submit_one(account))
        path = f"{PREFIX}/avatars/{generation.avatar_id}"
        assert api.client.delete(path, headers=account.headers).status_code == 200
        read = api.client.get(f"{PREFIX}/generations/{generation.id}", headers=account.headers).json()
        assert read["generation"]["status"] == "completed"
        assert read["generation"]["avatarId"] == generation.avatar_id
        api.refused(api.client.get(path, headers=account.headers), 404, "RESOURCE_NOT_FOUND")
        assert api.account(account) == (92, 0)
        with uow.read() as tx:
            assert Avatars(tx).count(account.user_id) == 0


class TestOwnership:
    def test_every_route_answers_alike(self, api, uow, make_account, subtests):
        """An id of another user, of none, or of no form is answered with the same 404 by every route."""
        owner, other = make_account(), make_account()
        avatar = add_avatar(uow, owner).id
        usage = {"appId": "a", "appName": "A", "action": "used"}
        routes = [
            ("GET", "projects/{}", None, owner.project_id),
            ("PUT", "projects/{}", {"name": "Mine"}, owner.project_id),
            ("PUT", "projects/{}", {}, owner.project_id),
            ("DELETE", "projects/{}", None, owner.project_id),
            ("GET", "avatars/{}", None, avatar),
            ("PUT", "avatars/{}", {"name": "Mine"}, avatar),
            ("PUT", "avatars/{}", {}, avatar),
            ("DELETE", "avatars/{}", None, avatar),
            ("POST", "avatars/{}/usage", usage, avatar),
            ("GET", "avatars/{}/usage-history", None, avatar),
        ]
        strange = ["none", "0", "x" * 300, "%F0%9F%98%80", "%ff", "a'--", "%20", avatar.upper()]
        for method, route, body, theirs in routes:
            noun = route.split("s/")[0].capitalize()
            for id_ in (theirs, f"{theirs}%20", *strange):
                with subtests.test(method=method, route=route, id=id_[:40]):
                    path = f"{PREFIX}/{route.format(id_)}"
                    answer = api.client.request(method, path, json=body, headers=other.headers)
                    error = api.refused(answer, 404, "RESOURCE_NOT_FOUND")
                    assert error == {
                        "message": f"{noun} not found",
                        "code": "RESOURCE_NOT_FOUND",
                        "statusCode": 404,
                    }
        (project,) = api.client.get(f"{PREFIX}/projects", headers=owner.headers).json()["projects"]
        assert project["name"] == "Test"
        assert [(one["name"], one["usageCount"]) for one in project["avatars"]] == [("Ada", 0)]
