import json
from uuid import UUID

from catalog.tiers import Tier
from server.accounts.repository import Users
from tests.databases import ONE_DATABASE

PREFIX = "/api/avatar-creator"
WISH = {"name": "Ada", "prompt": "portrait of a woman with long red hair"}
INVALID = "VALIDATION_ERROR"
BAD = {
    "width": [0, -16, 496, 511, 513, 520, 1040, 10**30, "512", 512.0, True, [512]],
    "height": [0, 500, 1023, 1040, "512", 512.5, False],
    "prompt": [
        "",
        " " * 20,
        "too short",
        "nine     .",
        "x" * 2001,
        5,
        ["portrait of Ada"],
        "portrait\0of Ada",
    ],
    "name": ["", "  ", "n" * 101, 7, "A\0da"],
    "seed": [-1, 2**32, "1", 1.0, True],
    "modelKey": ["avatar-creator:none", "flux-dev", "", "k" * 129, 1, "k\0"],
    "gender": ["Male", "", 1],
    "ageRange": ["old", "20-30"],
    "personaName": ["n" * 101, 1, "n\0"],
    "personaAge": [0, 121, "30", 30.0, True],
    "personaPersonality": ["calm", ["c"] * 11, ["c" * 51], ["calm", 1], ["calm", "c\0"], '["calm"]'],
    "personaBackground": ["b" * 501, 1, "b\0"],
    **{
        word: ["w" * 51, 1, "w\0"]
        for word in ("ethnicity", "bodyType", "hairStyle", "hairColor", "eyeColor", "skinTone", "style")
    },
}
UNREADABLE = [
    b"",
    b"null",
    b"[]",
    b'"text"',
    b"7",
    b"{",
    b'{"name": "Ada",}',
    b"name=Ada",
    b'{"name": "\xff", "prompt": "portrait of a woman"}',
    b'{"name": "Ada", "prompt": "portrait of \\ud800 a woman"}',
    b'{"name": "Ada", "prompt": "portrait of a woman", "width": NaN}',
    b'{"name": "Ada", "prompt": "portrait of a woman", "width": 1e999}',
    b'{"name": "Ada", "prompt": "portrait of a woman", "deep": ' + b"[" * 9999 + b"]" * 9999 + b"}",
    b"\x1f\x8b\x08\x00",
]
NO_TOKENS = [
    ({}, "AUTHENTICATION_ERROR"),
    ({"Authorization": ""}, "AUTHENTICATION_ERROR"),
    ({"Authorization": "Bearer"}, "AUTHENTICATION_ERROR"),
    ({"Authorization": "Bearer  "}, "AUTHENTICATION_ERROR"),
    ({"Authorization": "Basic YTpi"}, "AUTHENTICATION_ERROR"),
    ({"Authorization": "Bearer ac_wrong"}, "TOKEN_INVALID"),
    ({"Authorization": "Bearer " + "x" * 5000}, "TOKEN_INVALID"),
    ({"Authorization": b"Bearer \xff\xfe"}, "TOKEN_INVALID"),
]


@ONE_DATABASE
class TestFields:
    def test_a_bad_value_is_refused_by_its_field(self, api, make_account, subtests):
        """A value that breaks its field's rule is refused by name; nothing is queued, nothing held."""
        account = make_account()
        for field, value in ((field, value) for field, values in BAD.items() for value in values):
            with subtests.test(field=field, value=repr(value)[:30]):
                error = api.refused(api.generate(account, **{field: value}), 400, INVALID, field)
                assert error["details"].keys() == {field}
                assert field in error["message"]
        api.nothing_happened(account)

    def test_the_limit_of_a_size_is_named(self, api, make_account):
        """A size beyond the entry's maximum is refused with that maximum."""
        error = api.refused(api.generate(make_account(), height=1040), 400, INVALID, "height")
        assert error["message"] == "height must be at most 1024 for FLUX.1-dev Base, not 1040"

    def test_every_field_at_fault_is_named(self, api, make_account):
        """An error lists all bad fields, and names one of them as its field."""
        account = make_account()
        answer = api.generate(account, name="", prompt="short", personaAge=0)
        error = api.refused(answer, 400, INVALID, "personaAge")
        assert error["details"].keys() == {"name", "prompt", "personaAge"}
        api.nothing_happened(account)

    def test_what_is_required_must_be_there(self, api, make_account):
        """A body without a name or a prompt is refused."""
        account = make_account()
        for field in ("name", "prompt"):
            api.refused(api.generate(account, **{field: None}), 400, INVALID, field)
        api.nothing_happened(account)

    def test_a_wrong_value_is_not_repeated(self, api, make_account):
        """An error about a text does not contain the text."""
        answer = api.generate(make_account(), personaBackground="my secret story " * 50)
        api.refused(answer, 400, INVALID, "personaBackground")
        assert "secret" not in answer.text

    def test_unknown_fields_are_ignored(self, api, make_account):
        """A field that is not in the contract changes nothing, whatever its value."""
        answer = api.generate(make_account(), model_key="none", persona_age=500, nul="\0", deep={"a": [{}]})
        assert answer.status_code == 200


@ONE_DATABASE
class TestBodies:
    def test_an_unreadable_body_is_refused(self, api, make_account, subtests):
        """A body that is no JSON object in UTF-8 is a 400 in the contract's shape."""
        account = make_account()
        for body in UNREADABLE:
            with subtests.test(body=repr(body[:60])):
                api.refused(api.post_body(account, body), 400, INVALID)
        api.nothing_happened(account)

    def test_a_body_that_is_too_large_is_refused(self, api, make_account):
        """More than 64 KiB is refused, with or without a Content-Length."""
        account = make_account()
        large = json.dumps(WISH | {"unknown": "x" * 70_000}).encode()
        pieces = (large[start : start + 9_000] for start in range(0, len(large), 9_000))
        for body in (large, pieces):
            error = api.refused(api.post_body(account, body), 400, INVALID)
            assert "65536 bytes" in error["message"]
        api.nothing_happened(account)

    def test_the_content_type_does_not_matter(self, api, make_account, subtests):
        """A body with a wrong Content-Type is read as JSON."""
        account = make_account()
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/x-msgpack"):
            with subtests.test(kind=kind):
                answer = api.post_body(account, json.dumps(WISH).encode(), **{"content-type": kind})
                assert answer.status_code == 200, answer.text


class TestWhoAndWhere:
    def test_without_a_valid_token_every_route_is_refused(self, api, make_account, subtests):
        """No token, another scheme or an unknown token is a 401 that names the scheme to use."""
        account = make_account()
        generate = f"{PREFIX}/projects/{account.project_id}/avatars/generate"
        paths = [
            "projects",
            f"projects/{account.project_id}",
            "generations/1",
            "avatars",
            "avatars/1",
            "stats",
        ]
        paths = [*(f"{PREFIX}/{path}" for path in paths), "/api/credits/balance", "/api/models/usage"]
        for headers, code in NO_TOKENS:
            with subtests.test(headers=repr(headers)[:50]):
                for path in paths:
                    answer = api.client.get(path, headers=headers)
                    api.refused(answer, 401, code)
                    assert answer.headers["www-authenticate"] == "Bearer"
                api.refused(api.client.post(generate, json=WISH, headers=headers), 401, code)
        api.nothing_happened(account)

    def test_a_revoked_key_is_invalid(self, api, uow, make_account):
        """As soon as a key is revoked, it is refused like an unknown one."""
        account = make_account()
        with uow.begin() as tx:
            assert Users(tx).revoke_keys(account.user_id) == 1
        api.refused(api.generate(account), 401, "TOKEN_INVALID")
        api.nothing_happened(account)

    def test_the_scheme_is_read_leniently(self, api, make_account):
        """The case of the scheme and blanks before the token do not matter."""
        account = make_account()
        for scheme in ("bearer", "BEARER", "Bearer "):
            headers = {"Authorization": f"{scheme} {account.token}"}
            assert api.client.get(f"{PREFIX}/projects", headers=headers).status_code == 200

    def test_an_unknown_project_is_not_found(self, api, make_account, subtests):
        """A request to generate in an unknown project is a 404."""
        account = make_account()
        for project in ("none", str(UUID(int=0)), "x" * 300, "%F0%9F%98%80", "%ff"):
            with subtests.test(project=project[:40]):
                path = f"{PREFIX}/projects/{project}/avatars/generate"
                answer = api.client.post(path, json=WISH, headers=account.headers)
                assert api.refused(answer, 404, "RESOURCE_NOT_FOUND")["message"] == "Project not found"
        api.nothing_happened(account)

    def test_another_users_project_is_not_found(self, api, make_account):
        """Another user's project is answered like an unknown one: 404, never 403."""
        owner, other = make_account(), make_account()
        path = f"{PREFIX}/projects/{owner.project_id}/avatars/generate"
        theirs = api.client.post(path, json=WISH, headers=other.headers)
        none = api.client.post(path.replace(owner.project_id, "none"), json=WISH, headers=other.headers)
        assert api.refused(theirs, 404, "RESOURCE_NOT_FOUND") == api.refused(none, 404, "RESOURCE_NOT_FOUND")
        api.nothing_happened(other)

    def test_a_nul_in_a_path_finds_nothing(self, api, make_account, subtests):
        """A NUL in an id is a 404, also on a database that cannot store a NUL."""
        account = make_account()
        for path in ("/projects/%00", "/generations/a%00b", "/avatars/%00", "/projects/%00/avatars/generate"):
            with subtests.test(path=path):
                send = api.client.post if path.endswith("generate") else api.client.get
                api.refused(send(PREFIX + path, headers=account.headers), 404, "ENDPOINT_NOT_FOUND")

    def test_too_few_credits_are_refused_with_both_numbers(self, api, make_account):
        """A price above the balance is 402 with exactly the contract's message."""
        account = make_account(Tier.BASIC, credits=3)
        error = api.refused(api.generate(account), 402, "INSUFFICIENT_CREDITS")
        assert error["message"] == "Insufficient credits. Required: 12, Available: 3"
        api.nothing_happened(account, balance=3)

    def test_an_entry_beyond_the_tier_is_denied(self, api, make_account):
        """An entry that exists but needs a higher tier is a 403 that names both tiers."""
        account = make_account(Tier.FREE)
        answer = api.generate(account, modelKey="avatar-creator:flux-dev-hd-realism")
        error = api.refused(answer, 403, "ACCESS_DENIED", "modelKey")
        assert "pro" in error["message"]
        assert "free" in error["message"]
        api.nothing_happened(account)
