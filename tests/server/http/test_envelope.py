import json

import pytest
from litestar import get

from server.errors import DatabaseAway
from server.http.errors import InputInvalid
from tests.databases import ONE_DATABASE

pytestmark = ONE_DATABASE

PREFIX = "/api/avatar-creator"


@get("/away", public=True, sync_to_thread=False)
def away() -> None:
    """Find the database away."""
    raise DatabaseAway


@get("/odd", public=True, sync_to_thread=False)
def odd() -> None:
    """Refuse a text that no encoding has."""
    raise InputInvalid({"name": ["name: \ud800 is not valid"]})


@pytest.fixture
def routes(api):
    """The application with routes that fail."""
    for route in (away, odd):
        api.client.app.register(route)
    return api


class TestShape:
    def test_the_message_is_at_the_top_too(self, api):
        """Older clients read the message beside `error`: it is the same text."""
        body = api.client.get("/nope").json()
        assert body["message"] == body["error"]["message"] == "No endpoint for GET /nope"

    def test_an_error_that_passes_says_when(self, routes):
        """A 503 is retryable, after as many seconds as its header says."""
        error = routes.refused(routes.client.get("/away"), 503, "SERVICE_UNAVAILABLE")
        assert (error["retryable"], error["retryAfter"]) == (True, 5)

    def test_a_lasting_error_is_not_retryable(self, api):
        """An error that repeats itself says nothing about trying again."""
        error = api.refused(api.client.get("/nope"), 404, "ENDPOINT_NOT_FOUND")
        assert error.keys() == {"message", "code", "statusCode"}

    def test_any_text_can_be_quoted(self, routes):
        """A message with half of a surrogate pair is still JSON."""
        routes.refused(routes.client.get("/odd"), 400, "VALIDATION_ERROR", "name")


class TestFramework:
    def test_a_bad_host_is_refused(self, api):
        """A Host header with characters that no host has is a 400 that names it."""
        answer = api.client.get("/healthz", headers={"Host": "a b"})
        assert "Host" in api.refused(answer, 400, "VALIDATION_ERROR")["message"]

    def test_a_body_beyond_the_limit_is_refused_with_it(self, api, make_account):
        """A body that is too large is a 400 that names the limit."""
        answer = api.post_body(make_account(), b"x" * 70_000)
        assert "65536 bytes" in api.refused(answer, 400, "VALIDATION_ERROR")["message"]

    def test_a_refusal_without_a_body_has_the_headers(self, api):
        """A HEAD request that is refused has the status and the headers of the error, and no body."""
        answer = api.client.head("/nope", headers={"Origin": "http://localhost:5173"})
        assert (answer.status_code, answer.content) == (404, b"")
        assert answer.headers["x-request-id"]
        assert answer.headers["access-control-allow-origin"]

    def test_nothing_of_python_leaks(self, routes):
        """No error has a traceback, a class or a module in it."""
        for path in ("/nope", "/away", f"{PREFIX}/projects", f"{PREFIX}/projects/%00"):
            text = json.dumps(routes.client.get(path).json())
            assert not any(word in text for word in ("Traceback", "litestar", "Exception", "server."))
