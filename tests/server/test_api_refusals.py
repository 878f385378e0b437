import json

import pytest

from catalog.tiers import Tier

PREFIX = "/api/avatar-creator"
WISH = {"name": "Ada", "prompt": "portrait of a woman with long red hair"}
INVALID = "VALIDATION_ERROR"


class TestFields:
    @pytest.mark.parametrize(
        ("field", "values"),
        [
            ("width", [0, -16, 496, 511, 513, 520, 1040, 10**30, "512", 512.0, True, [512]]),
            ("height", [0, 500, 1023, 1040, "512", 512.5, False]),
            ("prompt", ["", " " * 20, "too short", "nine     .", "x" * 2001, 5, ["a portrait of Ada"], "a portrait\0of Ada"]),
            ("name", ["", "  ", "n" * 101, 7, "A\0da"]),
            ("seed", [-1, 2**32, "1", 1.0, True]),
            ("modelKey", ["avatar-creator:none", "flux-dev-base", "", "k" * 129, 1, "k\0"]),
            ("gender", ["Male", "", 1]),
            ("ageRange", ["old", "20-30"]),
            ("personaName", ["n" * 101, 1, "n\0"]),
            ("personaAge", [0, 121, "30", 30.0, True]),
            ("personaPersonality", ["calm", ["c"] * 11, ["c" * 51], ["calm", 1], ["calm", "c\0"], '["calm"]']),
            ("personaBackground", ["b" * 501, 1, "b\0"]),
            *((word, ["w" * 51, 1, "w\0"]) for word in ("ethnicity", "bodyType", "hairStyle", "hairColor")),
            *((word, ["w" * 51, 1, "w\0"]) for word in ("eyeColor", "skinTone", "style")),
        ],
    )  # fmt: skip
    def test_a_bad_value_is_refused_by_its_field(self, api, make_account, subtests, field, values):
        """A value that breaks its field's rule is refused, the field named; nothing is queued or held."""
        account = make_account()
        for value in values:
            with subtests.test(value=repr(value)[:30]):
                answer = api.generate(account, **{field: value})
                error = api.refused(answer, 400, INVALID, field)
                assert error["details"].keys() == {field}
                assert field in error["message"]
        api.nothing_happened(account)

    def test_the_limit_of_a_size_is_told(self, api, make_account):
        """A size beyond the entry's maximum is refused with that maximum."""
        error = api.refused(api.generate(make_account(), height=1040), 400, INVALID, "height")
        assert error["message"] == "height must be at most 1024 for FLUX.1-dev Base, not 1040"

    def test_every_field_at_fault_is_named(self, api, make_account):
        """Several bad fields are told at once, the first one as the field."""
        account = make_account()
        answer = api.generate(account, name="", prompt="short", personaAge=0)
        error = api.refused(answer, 400, INVALID, "name")
        assert error["details"].keys() == {"name", "prompt", "personaAge"}
        api.nothing_happened(account)

    @pytest.mark.parametrize("field", ["name", "prompt"])
    def test_what_is_required_must_be_there(self, api, make_account, field):
        """A body without a name or a prompt is refused."""
        account = make_account()
        api.refused(api.generate(account, **{field: None}), 400, INVALID, field)
        api.nothing_happened(account)

    def test_a_wrong_value_is_not_repeated(self, api, make_account):
        """An error about a text does not carry the text."""
        answer = api.generate(make_account(), personaBackground="my secret story " * 50)
        api.refused(answer, 400, INVALID, "personaBackground")
        assert "secret" not in answer.text

    def test_unknown_fields_are_ignored(self, api, make_account):
        """A field that the contract does not know changes nothing, whatever is in it."""
        answer = api.generate(make_account(), model_key="none", persona_age=500, nul="\0", deep={"a": [{}]})
        assert answer.status_code == 200


class TestBodies:
    @pytest.mark.parametrize(
        "body",
        [
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
        ],
        ids=lambda body: repr(body[:40]),
    )
    def test_an_unreadable_body_is_refused(self, open_api, make_account, body):
        """What is no JSON object in UTF-8 is answered 400 in the contract's shape."""
        account = make_account()
        with open_api() as api:
            api.refused(api.post_body(account, body), 400, INVALID)
            api.nothing_happened(account)

    def test_a_body_that_is_too_large_is_refused(self, api, make_account):
        """More than 64 KiB is refused, whether its length was told before or not."""
        account = make_account()
        large = json.dumps(WISH | {"unknown": "x" * 70_000}).encode()
        pieces = (large[start : start + 9_000] for start in range(0, len(large), 9_000))
        for body in (large, pieces):
            error = api.refused(api.post_body(account, body), 400, INVALID)
            assert "65536 bytes" in error["message"]
        api.nothing_happened(account)

    @pytest.mark.parametrize(
        "kind", ["text/plain", "application/x-www-form-urlencoded", "application/x-msgpack"]
    )
    def test_the_body_is_json_whatever_it_is_called(self, api, make_account, kind):
        """A wrong Content-Type never fails the server: the body is read as JSON."""
        answer = api.post_body(make_account(), json.dumps(WISH).encode(), **{"content-type": kind})
        assert answer.status_code == 200, answer.text


class TestWhoAndWhere:
    @pytest.mark.parametrize(
        ("header", "code"),
        [
            (None, "AUTHENTICATION_ERROR"),
            ("", "AUTHENTICATION_ERROR"),
            ("Bearer", "AUTHENTICATION_ERROR"),
            ("Bearer  ", "AUTHENTICATION_ERROR"),
            ("Basic YTpi", "AUTHENTICATION_ERROR"),
            ("Bearer ac_wrong", "TOKEN_INVALID"),
            ("Bearer " + "x" * 5000, "TOKEN_INVALID"),
            (b"Bearer \xff\xfe", "TOKEN_INVALID"),
        ],
        ids=lambda value: repr(value)[:24],
    )
    def test_without_a_valid_token_nobody_gets_in(self, api, make_account, header, code):
        """No token, another scheme or an unknown token: 401, and what to send."""
        account = make_account()
        headers = {} if header is None else {"Authorization": header}
        for path in ("/projects", f"/projects/{account.project_id}", "/generations/1", "/avatars/1"):
            answer = api.client.get(PREFIX + path, headers=headers)
            api.refused(answer, 401, code)
            assert answer.headers["www-authenticate"] == "Bearer"
        path = f"{PREFIX}/projects/{account.project_id}/avatars/generate"
        api.refused(api.client.post(path, json=WISH, headers=headers), 401, code)
        api.refused(api.client.get("/api/credits/balance", headers=headers), 401, code)
        api.refused(api.client.get("/api/models/usage", headers=headers), 401, code)
        api.nothing_happened(account)

    def test_a_revoked_key_opens_nothing(self, api, uow, make_account):
        """From the moment of its revocation a key is like one that never was."""
        account = make_account()
        with uow.begin() as tx:
            assert tx.users.revoke_keys(account.user_id) == 1
        api.refused(api.generate(account), 401, "TOKEN_INVALID")
        api.nothing_happened(account)

    @pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
    def test_the_scheme_is_read_kindly(self, api, make_account, scheme):
        """The case of the scheme and blanks before the token do not matter."""
        account = make_account()
        headers = {"Authorization": f"{scheme} {account.token}"}
        assert api.client.get(f"{PREFIX}/projects", headers=headers).status_code == 200

    @pytest.mark.parametrize(
        "project", ["none", "00000000-0000-0000-0000-000000000000", "x" * 300, "%F0%9F%98%80", "%ff"]
    )
    def test_an_unknown_project_is_not_found(self, api, make_account, project):
        """A project that is not there cannot be generated in."""
        account = make_account()
        path = f"{PREFIX}/projects/{project}/avatars/generate"
        answer = api.client.post(path, json=WISH, headers=account.headers)
        assert api.refused(answer, 404, "RESOURCE_NOT_FOUND")["message"] == "Project not found"
        api.nothing_happened(account)

    def test_another_users_project_is_not_found(self, api, make_account):
        """Someone else's project looks like none at all: 404, never 403."""
        owner, other = make_account(), make_account()
        path = f"{PREFIX}/projects/{owner.project_id}/avatars/generate"
        theirs = api.client.post(path, json=WISH, headers=other.headers)
        none = api.client.post(path.replace(owner.project_id, "none"), json=WISH, headers=other.headers)
        assert api.refused(theirs, 404, "RESOURCE_NOT_FOUND") == api.refused(none, 404, "RESOURCE_NOT_FOUND")
        api.nothing_happened(other)

    @pytest.mark.parametrize(
        "path", ["/projects/{}", "/generations/{}", "/avatars/{}", "/projects/{}/avatars/generate"]
    )
    def test_a_nul_in_a_path_finds_nothing(self, api, make_account, path):
        """A NUL in an id is a 404, on a database that cannot hold one too."""
        account = make_account()
        for part in ("%00", "a%00b"):
            ask = api.client.post if path.endswith("generate") else api.client.get
            answer = ask(PREFIX + path.format(part), headers=account.headers)
            api.refused(answer, 404, "ENDPOINT_NOT_FOUND")

    def test_too_few_credits_are_refused_with_both_numbers(self, api, make_account):
        """A price above the balance is 402 with exactly the contract's message."""
        account = make_account(Tier.BASIC, credits=3)
        error = api.refused(api.generate(account), 402, "INSUFFICIENT_CREDITS")
        assert error["message"] == "Insufficient credits. Required: 12, Available: 3"
        api.nothing_happened(account, balance=3)

    def test_an_entry_beyond_the_tier_is_denied(self, api, make_account):
        """An entry that exists and is not for this tier is 403, and says which tier it takes."""
        account = make_account(Tier.FREE)
        answer = api.generate(account, modelKey="avatar-creator:flux-dev-hd-realism")
        error = api.refused(answer, 403, "ACCESS_DENIED", "modelKey")
        assert "pro" in error["message"]
        assert "free" in error["message"]
        api.nothing_happened(account)
