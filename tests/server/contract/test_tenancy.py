"""No route shows whether another user's resource exists: every case is made from the route table."""

from dataclasses import replace
from uuid import uuid4

from server.accounts.repository import KEY_PREFIX
from tests.server.contract.observing import told
from tests.server.contract.tenancy import (
    DOCUMENTATION,
    NOUNS,
    OF_A_USER,
    PUBLIC,
    REFERENCES,
    calls,
    endpoints,
    private,
    unknown_ids,
)
from tests.server.signing import bearer

SIGN_IN = "/api/sign-in"


class TestClasses:
    def test_the_public_routes_are_those_of_the_contract(self, api):
        """Every route is public by the contract or wants a token; the documentation is public too."""
        public = {endpoint.path for endpoint in endpoints(api.client.app) if endpoint.public}
        assert {path for path in public if not path.startswith(DOCUMENTATION)} == PUBLIC
        assert len(private(api.client.app)) >= 25

    def test_nothing_public_can_be_changed(self, api):
        """A public route only reads, but for signing in, and a token changes nothing in its status."""
        for endpoint in endpoints(api.client.app):
            if endpoint.public:
                assert (endpoint.method == "GET") != (endpoint.path == SIGN_IN), endpoint
                path = endpoint.path.replace("{", "").replace("}", "")
                tokens = ({}, bearer("garbage"))
                without, bad = (api.client.request(endpoint.method, path, headers=each) for each in tokens)
                expected = {400} if endpoint.path == SIGN_IN else {200, 404, 503}
                assert without.status_code in expected, endpoint
                assert bad.status_code == without.status_code, endpoint

    def test_every_id_is_known_to_these_tests(self, api):
        """Each id in a path, a query, a header or a body of a private route has a row in the tables here."""
        for endpoint in private(api.client.app):
            assert set(endpoint.parameters) <= NOUNS.keys(), endpoint
            assert endpoint.references <= REFERENCES.keys(), endpoint


class TestTokens:
    def test_a_bad_token_is_told_nothing(self, api, direct, tenant, refused_tokens, unchanged, subtests):
        """A bad token is a 401 on every private route, the same for what exists and for what does not."""
        unchanged()
        for endpoint in private(api.client.app):
            call = calls(endpoint)[0]
            for kind, (token, code) in refused_tokens.items():
                with subtests.test(endpoint=str(endpoint), token=kind):
                    missing = direct.send(call.request(unknown_ids(), token))
                    api.refused(missing, 401, code)
                    assert missing.headers["www-authenticate"] == "Bearer"
                    for ids in tenant.cases(endpoint):
                        assert told(direct.send(call.request(ids, token))) == told(missing)

    def test_a_key_of_the_past_is_like_one_that_never_was(self, api, direct, refused_tokens, subtests):
        """A revoked key and a deleted user's are looked up and answered like one that was never issued."""
        never = bearer(KEY_PREFIX + "A" * 43)
        for endpoint in private(api.client.app):
            call = calls(endpoint)[0]
            for kind in ("revoked key", "key of a deleted user"):
                with subtests.test(endpoint=str(endpoint), token=kind):
                    past, unknown = (
                        call.request(unknown_ids(), token) for token in (refused_tokens[kind][0], never)
                    )
                    assert told(direct.send(past)) == told(direct.send(unknown))
                    assert direct.asked(past) == direct.asked(unknown)


class TestOthersIds:
    def test_an_owner_is_answered(self, api, direct, make_tenant, subtests):
        """The calls that are refused to others are right: each succeeds for the owner of one of the ids."""
        for endpoint in private(api.client.app):
            if endpoint.parameters:
                with subtests.test(endpoint=str(endpoint)):
                    owner = make_tenant()
                    requests = (
                        calls(endpoint)[0].request(ids, owner.account.headers)
                        for ids in owner.cases(endpoint)
                    )
                    assert 200 in (direct.send(request).status_code for request in requests)

    def test_what_is_another_s_is_not_found(self, api, direct, tenant, stranger, unchanged, subtests):
        """Another user's id is a 404 on every route, in everything equal to an id that never existed.

        The database is asked the same for both, and nothing in it changes.
        """
        unchanged()
        asked = 0
        for endpoint in private(api.client.app):
            for call in calls(endpoint) if endpoint.parameters else ():
                for ids in tenant.cases(endpoint):
                    asked += 1
                    with subtests.test(endpoint=str(endpoint), query=call.query, headers=call.headers):
                        foreign, unknown = (
                            call.request(which, stranger.headers) for which in (ids, unknown_ids())
                        )
                        error = api.refused(direct.send(foreign), 404, "RESOURCE_NOT_FOUND")
                        assert error["message"] == f"{NOUNS[endpoint.parameters[-1]]} not found"
                        assert told(direct.send(foreign)) == told(direct.send(unknown))
                        assert direct.asked(foreign) == direct.asked(unknown)
        assert asked >= 40

    def test_a_refused_request_leaves_its_key_free(self, api, direct, tenant, stranger):
        """An idempotency key that came with another user's project is free for a request of one's own."""
        keyed = 0
        for endpoint in private(api.client.app):
            for call in calls(endpoint):
                if "Idempotency-Key" in call.headers:
                    keyed += 1
                    call_again = replace(call, headers={"Idempotency-Key": str(keyed)})
                    theirs, own = (
                        call_again.request({"project_id": account.project_id}, stranger.headers)
                        for account in (tenant.account, stranger)
                    )
                    assert direct.send(theirs).status_code == 404
                    answer = direct.send(own)
                    assert answer.status_code == 200, answer.text
                    assert "idempotency-replayed" not in answer.headers
        assert keyed >= 3

    def test_references_to_what_is_another_s(self, api, direct, tenant, stranger, unchanged, subtests):
        """Another user's id in a query or a body is answered like one that never existed."""
        own = {"project_id": stranger.project_id}
        quote_id = quote_of(direct, api, tenant.account)
        theirs = {"projectId": tenant.account.project_id, "quoteId": quote_id}
        never = {"projectId": str(uuid4()), "quoteId": quote_id[:-20] + "A" * 20}
        unchanged()
        referring = [
            (one, name) for one in private(api.client.app) for name in one.references & theirs.keys()
        ]
        assert {name for _, name in referring} == {name for name, of in REFERENCES.items() if of == OF_A_USER}
        for endpoint, name in referring:
            with subtests.test(endpoint=str(endpoint), reference=name):
                foreign, unknown = (
                    told(direct.send(call_with(endpoint, name, ids[name]).request(own, stranger.headers)))
                    for ids in (theirs, never)
                )
                assert foreign == unknown
                assert foreign[0] in {200, 400}
                assert foreign[2].get("generations", []) == []


def quote_of(direct, api, account):
    """Return the id of a quote that was given to a user."""
    endpoint = next(one for one in private(api.client.app) if "quoteId" in one.references)
    call = replace(calls(endpoint)[0], query={"dryRun": "true"})
    return direct.send(call.request({"project_id": account.project_id}, account.headers)).json()["quoteId"]


def call_with(endpoint, name, value):
    """Return the shortest call of an endpoint with a reference in its query or its body."""
    call = calls(endpoint)[0]
    if name in {option["name"] for option in endpoint.options}:
        return replace(call, query={name: value})
    return replace(call, body={**call.body, name: value})
