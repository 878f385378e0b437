import pytest

from server.images.store import ImageStore
from tests.server.stored import add_avatar, add_drawn_avatar

PREFIXES = ["/api/avatar-creator", "/api/apps/avatar-creator"]
PREFIX = PREFIXES[0]


@pytest.fixture
def images(settings):
    """The image store of the application."""
    return ImageStore(settings.server.images_dir)


class TestUpdate:
    def test_what_is_named_changes(self, api, uow, make_account, subtests):
        """Under both prefixes the name, the description or both change; null clears a description."""
        account = make_account()
        avatar = add_avatar(uow, account)
        before = {"name": "Test", "description": None}
        for changes, expected in [
            ({"name": "  New \n name "}, {"name": "New name"}),
            ({"description": "d" * 500}, {"description": "d" * 500}),
            ({"name": "n" * 100}, {"name": "n" * 100}),
            ({"description": None}, {"description": None}),
            ({"name": "Last", "description": ""}, {"name": "Last", "description": ""}),
            ({}, {}),
            ({"userId": "other", "id": "other", "createdAt": None}, {}),
        ]:
            before |= expected
            for prefix in PREFIXES:
                with subtests.test(changes=repr(changes)[:40], prefix=prefix):
                    path = f"{prefix}/projects/{account.project_id}"
                    answer = api.client.put(path, json=changes, headers=account.headers)
                    assert answer.status_code == 200, answer.text
                    assert answer.json().keys() == {"message", "project"}
                    project = answer.json()["project"]
                    assert {"name": project["name"], "description": project["description"]} == before
                    assert project["userId"] == account.user_id
                    assert [one["id"] for one in project["avatars"]] == [avatar.id]
                    read = api.client.get(path, headers=account.headers).json()
                    assert read == {"project": project}

    def test_the_time_of_the_change_is_kept(self, api, make_account):
        """A change moves updatedAt; a request that changes nothing does not."""
        account = make_account()
        path = f"{PREFIX}/projects/{account.project_id}"

        def update(**changes):
            return api.client.put(path, json=changes, headers=account.headers).json()["project"]["updatedAt"]

        before = api.client.get(path, headers=account.headers).json()["project"]["updatedAt"]
        assert update() == before
        assert update(name="New") > before

    def test_bad_input_is_refused(self, api, make_account, subtests):
        """A name or description that breaks its rule is refused by name, and nothing changes."""
        account = make_account()
        path = f"{PREFIX}/projects/{account.project_id}"
        bad = {"name": ["", "  ", "n" * 101, 1, None, "a\0", ["n"]], "description": ["d" * 501, 1, "a\0"]}
        for field, value in ((field, value) for field, values in bad.items() for value in values):
            with subtests.test(field=field, value=repr(value)[:20]):
                body = {"name": "New", "description": "New"} | {field: value}
                answer = api.client.put(path, json=body, headers=account.headers)
                api.refused(answer, 400, "VALIDATION_ERROR", field)
        for body in (b"", b"[]", b"null", b"{"):
            with subtests.test(body=body):
                api.refused(
                    api.client.put(path, content=body, headers=account.headers), 400, "VALIDATION_ERROR"
                )
        project = api.client.get(path, headers=account.headers).json()["project"]
        assert (project["name"], project["description"]) == ("Test", None)


class TestDelete:
    @pytest.mark.parametrize("prefix", PREFIXES)
    def test_all_that_is_in_it(self, api, uow, images, make_account, prefix):
        """A deleted project, its avatars, images and generations are not found; credits come back."""
        account = make_account()
        avatar = add_drawn_avatar(uow, images, account)
        generation = api.generate(account).json()["generation"]["id"]
        path = f"{prefix}/projects/{account.project_id}"
        (shown,) = api.client.get(path, headers=account.headers).json()["project"]["avatars"]
        files = [shown["baseImageUrl"], shown["thumbnailUrl"]]
        assert [api.client.get(file).status_code for file in files] == [200, 200]
        assert api.balance(account) == 92
        answer = api.client.delete(path, headers=account.headers)
        assert (answer.status_code, answer.json()) == (200, {"message": "Project deleted successfully"})
        for gone in (path, f"{prefix}/avatars/{avatar.id}", f"{prefix}/generations/{generation}"):
            api.refused(api.client.get(gone, headers=account.headers), 404, "RESOURCE_NOT_FOUND")
        assert [api.client.get(file).status_code for file in files] == [404, 404]
        listed = api.client.get(f"{prefix}/projects", headers=account.headers).json()
        assert listed["projects"] == []
        assert api.account(account) == (100, 0)
        api.refused(api.client.delete(path, headers=account.headers), 404, "RESOURCE_NOT_FOUND")

    def test_files_that_cannot_be_deleted_are_left(self, api, uow, images, make_account, monkeypatch):
        """A project is deleted although the folder of its images cannot be written."""

        def refuse(*_):
            raise PermissionError

        monkeypatch.setattr(ImageStore, "delete", refuse)
        account = make_account()
        add_drawn_avatar(uow, images, account)
        path = f"{PREFIX}/projects/{account.project_id}"
        assert api.client.delete(path, headers=account.headers).status_code == 200
        assert api.client.get(path, headers=account.headers).status_code == 404
