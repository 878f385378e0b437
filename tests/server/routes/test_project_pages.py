"""The list of projects comes in pages of a bounded size, whatever a user has."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, insert

from server.avatars.tables import Avatar
from server.generations.deletion import delete_projects
from server.projects import service
from server.projects.tables import Project
from tests.server.conftest import PREFIX
from tests.server.stored import avatar_of

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MANY = 70_000  # more than the parameters that either database takes for a statement


def add_projects(uow, account, count):
    """Add projects in one statement, each a second older than the one before; return their ids."""
    ids = [f"project-{number:05}" for number in range(count)]
    rows = [
        {
            "id": project_id,
            "user_id": account.user_id,
            "name": "Mine",
            "created_at": NOON - timedelta(seconds=number),
            "updated_at": NOON,
        }
        for number, project_id in enumerate(ids)
    ]
    with uow.begin() as tx:
        tx.session.execute(insert(Project), rows)
    return ids


def add_avatars(uow, account, project_id, count, at=None):
    """Add avatars to a project, each a second older than the one before; return their ids."""
    ids = [f"{project_id}-{number:05}" for number in range(count)]
    template = {
        column.key: getattr(avatar_of(account), column.key) for column in Avatar.__mapper__.column_attrs
    }
    rows = [
        template
        | {
            "id": avatar_id,
            "image_key": avatar_id,
            "project_id": project_id,
            "usage_count": 0,
            "created_at": at or NOON - timedelta(seconds=number),
            "updated_at": NOON,
        }
        for number, avatar_id in enumerate(ids)
    ]
    with uow.begin() as tx:
        tx.session.execute(insert(Avatar), rows)
    return ids


@pytest.fixture
def listed(api):
    """List an account's projects."""

    def read(account, **query):
        answer = api.client.get(f"{PREFIX}/projects", params=query, headers=account.headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return read


class TestPages:
    def test_without_parameters_the_newest_are_there(self, uow, make_account, listed):
        """A client of before gets the newest 500 of 70,000 projects, and learns that there are more."""
        account = make_account()
        ids = add_projects(uow, account, MANY)
        answer = listed(account)
        newest = [project["id"] for project in answer["projects"]]
        assert newest == [account.project_id, *ids[:499]]
        assert answer["meta"]["hasMore"] is True
        following = listed(account, cursor=answer["meta"]["nextCursor"], limit=3)
        assert [project["id"] for project in following["projects"]] == ids[499:502]

    def test_pages_make_up_the_whole(self, uow, make_account, listed):
        """One page after another has every project once, with its avatars; the last has no cursor."""
        account = make_account()
        ids = [account.project_id, *add_projects(uow, account, 7)]
        avatar = add_avatars(uow, account, ids[6], 1)
        found, cursor = [], {}
        while cursor is not None:
            page = listed(account, limit=3, **cursor)
            assert len(page["projects"]) <= 3
            found += page["projects"]
            following = page["meta"]["nextCursor"]
            cursor = following and {"cursor": following}
        assert [project["id"] for project in found] == ids
        with_avatars = {one["id"]: one["avatars"] for one in found if one["avatars"]}
        assert {project: [one["id"] for one in avatars] for project, avatars in with_avatars.items()} == {
            ids[6]: avatar
        }

    def test_projects_of_one_moment(self, uow, make_account, listed):
        """Projects that were created at the same moment are on one page each, with their own avatars."""
        account = make_account()
        ids = add_projects(uow, account, 4)
        with uow.begin() as tx:
            for project in tx.session.query(Project):
                project.created_at = NOON
        for project_id in ids:
            add_avatars(uow, account, project_id, 1)
        first = listed(account, limit=2)
        second = listed(account, limit=3, cursor=first["meta"]["nextCursor"])
        both = first["projects"] + second["projects"]
        assert sorted(project["id"] for project in both) == sorted([account.project_id, *ids])
        assert all(one["projectId"] == project["id"] for project in both for one in project["avatars"])
        assert sum(len(project["avatars"]) for project in both) == 4

    @pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 501}, {"cursor": "x"}])
    def test_what_is_no_page_is_refused(self, api, make_account, query):
        """A limit out of bounds and a cursor of nobody's are 400 and named."""
        answer = api.client.get(f"{PREFIX}/projects", params=query, headers=make_account().headers)
        api.refused(answer, 400, "VALIDATION_ERROR", field=next(iter(query)))


class TestAvatarsOfAPage:
    @pytest.fixture(autouse=True)
    def few(self, monkeypatch):
        """Let an answer have six avatars at most."""
        monkeypatch.setattr(service, "AVATARS_AT_ONCE", 6)

    def shown(self, project):
        """Return the ids of a project's avatars in an answer, and whether more are said to exist."""
        return [avatar["id"] for avatar in project["avatars"]], project["hasMoreAvatars"]

    def test_the_projects_share_them(self, uow, make_account, listed):
        """Of three projects each shows its newest two avatars, and says whether it has more."""
        account = make_account()
        full, fitting = add_projects(uow, account, 2)
        many, two = add_avatars(uow, account, full, 9), add_avatars(uow, account, fitting, 2)
        empty, first, second = (self.shown(project) for project in listed(account)["projects"])
        assert (empty, first, second) == (([], False), (many[:2], True), (two, False))

    def test_avatars_of_one_moment(self, uow, make_account, listed):
        """Avatars that came at the same moment are no more than the others."""
        account = make_account()
        many = add_avatars(uow, account, account.project_id, 9, at=NOON)
        (project,) = listed(account)["projects"]
        assert self.shown(project) == (many[::-1][:6], True)

    def test_one_project_has_them_alone(self, api, uow, make_account):
        """A project that is read by its id shows six of its avatars, the newest first."""
        account = make_account()
        many = add_avatars(uow, account, account.project_id, 7)
        path = f"{PREFIX}/projects/{account.project_id}"
        for answer in (
            api.client.get(path, headers=account.headers),
            api.client.put(path, json={"name": "Ours"}, headers=account.headers),
        ):
            assert self.shown(answer.json()["project"]) == (many[:6], True)


class TestStatements:
    def test_the_number_of_parameters_does_not_grow(self, uow, make_account, listed):
        """A page of 400 projects takes as many parameters as one of two."""
        account = make_account()
        add_projects(uow, account, 400)
        counts = []

        def count(_connection, _cursor, _statement, parameters, *_):
            counts.append(len(parameters))

        most = []
        for limit in (2, 400):
            counts.clear()
            event.listen(uow.engine, "before_cursor_execute", count)
            service.list_page(uow, account.caller, limit)
            event.remove(uow.engine, "before_cursor_execute", count)
            most.append(max(counts))
        assert most[0] == most[1] < 20

    def test_all_of_a_users_projects_are_deleted(self, uow, make_account, monkeypatch):
        """A user's projects are deleted in parts, all of them and no other user's."""
        monkeypatch.setattr("server.generations.deletion.PROJECTS_AT_ONCE", 3)
        account, other = make_account(), make_account()
        add_projects(uow, account, 6)
        assert delete_projects(uow, lambda _keys: None, account.caller) == 7
        with uow.read() as tx:
            assert [project.id for project in tx.session.query(Project)] == [other.project_id]
