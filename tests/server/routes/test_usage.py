import json

from tests.server.stored import add_avatar

PREFIXES = ["/api/avatar-creator", "/api/apps/avatar-creator"]
PREFIX = PREFIXES[0]
USE = {"appId": "pose-editor", "appName": "Pose Editor", "action": "pose_created"}
BAD = {
    "appId": ["", " ", "a" * 65, 1, None, "a\0"],
    "appName": ["", " ", "a" * 101, 1, None, "a\0"],
    "action": ["", "a" * 65, 1, None, "a\0"],
    "referenceId": ["r" * 101, 1, "r\0"],
    "referenceType": ["r" * 51, 1, "r\0"],
    "metadata": ["text", '{"a": 1}', 1, [], ["a"], True, {"a": "x" * 4090}, {"a": "é" * 2046}],
}


class TestUsage:
    def test_uses_are_counted_and_listed(self, api, uow, make_account):
        """Each use raises usageCount and lastUsedAt; the history shows it, and the summary adds it up."""
        account = make_account()
        avatar = add_avatar(uow, account)
        path = f"{PREFIX}/avatars/{avatar.id}"
        before = api.client.get(path, headers=account.headers).json()["avatar"]
        extra = {"referenceId": "p1", "referenceType": "pose", "metadata": {"deep": [{"n": 1.5}, None, "é"]}}
        for prefix, use in zip(PREFIXES, (USE | extra, USE), strict=True):
            answer = api.client.post(
                f"{prefix}/avatars/{avatar.id}/usage", json=use | {"unknown": 1}, headers=account.headers
            )
            assert (answer.status_code, answer.json()) == (200, {"message": "Usage recorded successfully"})
        other_app = {"appId": "b", "appName": " B \n c ", "action": "used"}
        api.client.post(f"{path}/usage", json=other_app, headers=account.headers)
        for prefix in PREFIXES:
            answer = api.client.get(f"{prefix}/avatars/{avatar.id}/usage-history", headers=account.headers)
            found = answer.json()
            assert found.keys() == {"success", "history", "summary"}
            assert found["success"] is True
            newest, second, first = found["history"]
            assert first.keys() == {
                *("id", "avatarId", "appId", "appName", "action"),
                *("referenceId", "referenceType", "metadata", "createdAt"),
            }
            assert (first["avatarId"], first["appId"], first["appName"]) == (
                avatar.id,
                "pose-editor",
                "Pose Editor",
            )
            assert (first["action"], first["referenceId"], first["referenceType"]) == (
                "pose_created",
                "p1",
                "pose",
            )
            assert json.loads(first["metadata"]) == extra["metadata"]
            assert (second["referenceId"], second["referenceType"], second["metadata"]) == (None, None, None)
            assert newest["appName"] == "B c"
            assert all(isinstance(use["id"], str) for use in found["history"])
            assert found["summary"] == [
                {"appId": "b", "appName": "B c", "count": 1, "lastUsed": newest["createdAt"]},
                {
                    "appId": "pose-editor",
                    "appName": "Pose Editor",
                    "count": 2,
                    "lastUsed": second["createdAt"],
                },
            ]
        after = api.client.get(path, headers=account.headers).json()["avatar"]
        assert after["usageCount"] == 3
        assert after["lastUsedAt"] == newest["createdAt"]
        assert after["updatedAt"] == before["updatedAt"]

    def test_an_unused_avatar(self, api, uow, make_account):
        """The history of an avatar that was never used is empty."""
        account = make_account()
        path = f"{PREFIX}/avatars/{add_avatar(uow, account).id}/usage-history"
        answer = api.client.get(path, headers=account.headers)
        assert answer.json() == {"success": True, "history": [], "summary": []}

    def test_bad_input_is_refused(self, api, uow, make_account, subtests):
        """A value that breaks its field's rule is refused by name, and nothing is counted."""
        account = make_account()
        path = f"{PREFIX}/avatars/{add_avatar(uow, account).id}"
        for field, value in ((field, value) for field, values in BAD.items() for value in values):
            with subtests.test(field=field, value=repr(value)[:30]):
                answer = api.client.post(f"{path}/usage", json=USE | {field: value}, headers=account.headers)
                error = api.refused(answer, 400, "VALIDATION_ERROR", field)
                assert error["details"].keys() == {field}
        for field in ("appId", "appName", "action"):
            with subtests.test(missing=field):
                body = {name: value for name, value in USE.items() if name != field}
                answer = api.client.post(f"{path}/usage", json=body, headers=account.headers)
                api.refused(answer, 400, "VALIDATION_ERROR", field)
        assert api.client.get(path, headers=account.headers).json()["avatar"]["usageCount"] == 0

    def test_strange_metadata(self, api, uow, make_account, subtests):
        """Metadata up to 4 KiB is kept whatever is in it; what cannot be kept is refused and never a 500."""
        account = make_account()
        path = f"{PREFIX}/avatars/{add_avatar(uow, account).id}"
        largest = {"a": "x" * (4096 - len('{"a":""}'))}
        kept = [{}, {"": ""}, {"a": "\0"}, {"\0": 1}, {"a": 10**30}, {"a": 1e300}, {"😀": "😀"}, largest]
        for metadata in kept:
            with subtests.test(metadata=repr(metadata)[:30]):
                answer = api.client.post(
                    f"{path}/usage", json=USE | {"metadata": metadata}, headers=account.headers
                )
                assert answer.status_code == 200, answer.text
                history = api.client.get(f"{path}/usage-history", headers=account.headers).json()["history"]
                assert json.loads(history[0]["metadata"]) == metadata
        for depth in (10, 200, 300, 500, 900, 1000, 2000):
            with subtests.test(depth=depth):
                nested = '{"a":' * depth + "1" + "}" * depth
                body = json.dumps(USE)[:-1] + f', "metadata": {nested}}}'
                answer = api.client.post(f"{path}/usage", content=body, headers=account.headers)
                assert answer.status_code in {200, 400}
                read = api.client.get(f"{path}/usage-history", headers=account.headers)
                assert read.status_code == 200
