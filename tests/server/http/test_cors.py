import re

import pytest

from server.http.cors import Cors
from tests.databases import ONE_DATABASE

PREFIX = "/api/avatar-creator"
HOME = "http://localhost:5173"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
}
EXPOSED = {
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "Retry-After",
    "X-Request-Id",
    "Idempotency-Replayed",
}
WILDCARD = "https://*.example.com"


def names(header):
    """Return the names that a header lists."""
    return set(re.split(", *", header))


@ONE_DATABASE
class TestAnswers:
    def test_the_front_end_may_read_answers_and_errors(self, api):
        """An allowed origin gets its headers on success, on errors and on unknown routes."""
        for path in ("/healthz", f"{PREFIX}/projects", "/nope", f"{PREFIX}/projects/%00"):
            headers = api.client.get(path, headers={"Origin": HOME}).headers
            assert headers["access-control-allow-origin"] == HOME
            assert headers["access-control-allow-credentials"] == "true"
            assert names(headers["access-control-expose-headers"]) == EXPOSED
            assert headers["vary"] == "Origin"

    def test_another_origin_gets_nothing(self, api):
        """An origin that is not listed gets no permission; caches keep its answer from the front end."""
        for origin in ("http://evil.example", HOME + ".evil.example", "null", "", "http://localhost:51730"):
            headers = api.client.get("/healthz", headers={"Origin": origin}).headers
            assert not any(name.startswith("access-control") for name in headers)
            assert headers["vary"] == "Origin"

    def test_an_operator_lists_the_origins(self, open_api):
        """Every origin of the setting is allowed, and the default one no longer is."""
        with open_api(cors_origin=("https://one.example", "https://two.example")) as api:
            for origin, allowed in (
                ("https://one.example", True),
                ("https://two.example", True),
                (HOME, False),
            ):
                headers = api.client.get("/healthz", headers={"Origin": origin}).headers
                assert ("access-control-allow-origin" in headers) is allowed

    def test_all_origins_are_allowed_without_credentials(self, open_api):
        """The origin * allows every page, and lets no browser send credentials."""
        with open_api(cors_origin=("*",)) as api:
            headers = api.client.get("/healthz", headers={"Origin": "https://any.example"}).headers
            assert headers["access-control-allow-origin"] == "*"
            assert "access-control-allow-credentials" not in headers


class TestWildcard:
    @pytest.mark.parametrize(
        "origin", ["https://app.example.com", "https://pr-12.example.com", "https://A.Example.com"]
    )
    def test_one_label_is_allowed(self, origin):
        """A wildcard stands for one label of the host."""
        assert list(Cors(None, [HOME, WILDCARD])._permission(origin.encode()))

    @pytest.mark.parametrize(
        "origin",
        [
            "https://example.com",
            "https://.example.com",
            "https://a.b.example.com",
            "https://a.example.com.evil",
            "https://aXexample.com",
            "https://a.exampleXcom",
            "http://a.example.com",
            "https://a.example.com:8443",
            "https://evil.com/.example.com",
            "https://evil.com#.example.com",
            "https://user@a.example.com",
            "https://a.example.com\nhttps://evil.com",
            "https://é.example.com",
            "https://*.example.com",
        ],
    )
    def test_nothing_else_is(self, origin):
        """A wildcard allows neither several labels nor none, and the rest is taken literally."""
        assert not list(Cors(None, [HOME, WILDCARD])._permission(origin.encode()))


@ONE_DATABASE
class TestPreflight:
    def test_it_passes_for_the_front_end(self, api):
        """A preflight lists the methods and headers of the contract, without a token and for any path."""
        for path in (f"{PREFIX}/projects", "/nope"):
            answer = api.client.options(path, headers=PREFLIGHT | {"Origin": HOME})
            assert (answer.status_code, answer.text) == (204, "")
            assert answer.headers["access-control-allow-origin"] == HOME
            assert answer.headers["access-control-allow-credentials"] == "true"
            assert names(answer.headers["access-control-allow-methods"]) == {"GET", "POST", "PUT", "DELETE"}
            assert names(answer.headers["access-control-allow-headers"]) == {
                *("Authorization", "Content-Type", "Idempotency-Key", "X-Request-Id", "Last-Event-ID"),
            }
            assert answer.headers["x-request-id"]

    def test_it_gives_another_origin_nothing(self, api):
        """A preflight of another origin gets no permission, which is a refusal to its browser."""
        answer = api.client.options(
            f"{PREFIX}/projects", headers=PREFLIGHT | {"Origin": "http://evil.example"}
        )
        assert not any(name.startswith("access-control") for name in answer.headers)

    def test_options_without_a_preflight_is_a_request(self, api):
        """OPTIONS that is no preflight is answered by the routes: an unknown one is not found."""
        answer = api.client.options("/nope", headers={"Origin": HOME})
        api.refused(answer, 404, "ENDPOINT_NOT_FOUND")
        assert "GET" in api.client.options("/healthz", headers={"Origin": HOME}).headers["allow"]
