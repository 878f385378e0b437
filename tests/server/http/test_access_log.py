import json

import pytest
from litestar import get

from server.http.access_log import log
from tests.databases import ONE_DATABASE

pytestmark = ONE_DATABASE

PREFIX = "/api/avatar-creator"


@get("/talk", public=True, sync_to_thread=True)
def talk() -> None:
    """Log a line from the thread of a handler."""
    log.info("handler.talks")


@pytest.fixture
def lines(log_lines):
    """The lines of the access log so far."""
    return lambda: [line for line in log_lines() if line["event"] == "request.answered"]


class TestLine:
    def test_a_request_has_one_line(self, api, make_account, lines):
        """A line has method, route template, status, seconds, user and request id, and no path."""
        account = make_account()
        answer = api.client.get(f"{PREFIX}/projects/{account.project_id}", headers=account.headers)
        (line,) = lines()
        assert line.pop("seconds") >= 0
        del line["timestamp"]
        assert line == {
            "event": "request.answered",
            "level": "info",
            "process": "test",
            "method": "GET",
            "route": PREFIX + "/projects/{project_id}",
            "status": 200,
            "user_id": account.user_id,
            "request_id": answer.headers["x-request-id"],
        }

    def test_what_is_refused_before_the_routing_has_one(self, api, lines):
        """Unknown routes and methods, bad hosts and preflights are logged without a route or a user."""
        api.client.get("/nope/secret")
        api.client.delete(f"{PREFIX}/projects")
        api.client.get("/healthz", headers={"Host": "a b"})
        preflight = {"Origin": "http://localhost:5173", "Access-Control-Request-Method": "GET"}
        api.client.options("/nope", headers=preflight)
        assert [(line["method"], line["route"], line["status"], line["user_id"]) for line in lines()] == [
            ("GET", None, 404, None),
            ("DELETE", None, 405, None),
            ("GET", None, 400, None),
            ("OPTIONS", None, 204, None),
        ]

    def test_neither_path_nor_query_nor_token_is_logged(self, api, make_account, log_lines):
        """What a client puts into path, query and headers is in no line."""
        account = make_account()
        api.client.get(f"{PREFIX}/avatars/hidden-id?hidden-name=hidden-value", headers=account.headers)
        api.client.get("/hidden-path", headers={"Authorization": "Bearer hidden-token"})
        api.client.get("/uploads/avatar-creator/hidden.png")
        assert lines_of(log_lines)
        assert "hidden" not in json.dumps(log_lines())

    def test_probes_are_for_debugging(self, api, lines):
        """The lines of probes are at debug, and no others."""
        for path in ("/healthz", "/readyz", "/health"):
            api.client.get(path)
        assert [line["level"] for line in lines()] == ["debug", "debug", "info"]


def lines_of(log_lines):
    return [line for line in log_lines() if line["event"] == "request.answered"]


class TestRequestId:
    def test_every_line_of_a_request_has_its_id(self, api, log_lines):
        """What a handler logs in its thread has the request's id, each request its own."""
        api.client.app.register(talk)
        ids = [api.client.get("/talk", headers={"X-Request-Id": name}).headers for name in ("one", "two")]
        assert [headers["x-request-id"] for headers in ids] == ["one", "two"]
        assert [line["request_id"] for line in log_lines() if line["event"] == "handler.talks"] == [
            "one",
            "two",
        ]
        assert [line["request_id"] for line in lines_of(log_lines)] == ["one", "two"]
