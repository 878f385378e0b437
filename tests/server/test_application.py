import re

import pytest
from litestar import get
from litestar.testing import TestClient

PREFIX = "/api/avatar-creator"
HOME = "http://localhost:5173"


class TestRoutes:
    def test_an_unknown_route_or_method_is_not_found(self, api, make_account, subtests):
        """A path without a route and a route without the method are 404 ENDPOINT_NOT_FOUND, token or not."""
        account = make_account()
        for method, path in (
            ("GET", "/"),
            ("GET", "/nope"),
            ("GET", f"{PREFIX}/nope"),
            ("DELETE", f"{PREFIX}/projects"),
            ("GET", f"{PREFIX}/projects/{account.project_id}/avatars/generate"),
            ("POST", "/api/credits/balance"),
            ("GET", "/uploads/avatar-creator/"),
            ("GET", f"{PREFIX}/projects/%2e%2e%2fhealth"),
        ):
            for headers in (account.headers, {}):
                with subtests.test(method=method, path=path):
                    api.refused(api.client.request(method, path, headers=headers), 404, "ENDPOINT_NOT_FOUND")

    def test_every_answer_has_an_id_of_its_own(self, api, make_account):
        """Successes and errors carry an X-Request-Id, no two the same."""
        account = make_account()
        answers = [
            api.generate(account),
            api.generate(account, name=""),
            api.client.get(f"{PREFIX}/projects"),
            api.client.get("/nope"),
            api.client.get("/healthz"),
        ]
        ids = [answer.headers.get_list("x-request-id") for answer in answers]
        assert all(len(each) == 1 and re.fullmatch("[0-9a-f]{32}", each[0]) for each in ids)
        assert len({each[0] for each in ids}) == len(answers)

    def test_the_api_describes_itself(self, api):
        """The OpenAPI document is served without a token and contains both prefixes."""
        answer = api.client.get("/schema/openapi.json")
        assert answer.status_code == 200
        paths = answer.json()["paths"]
        for prefix in (PREFIX, "/api/apps/avatar-creator"):
            assert "post" in paths[prefix + "/projects/{project_id}/avatars/generate"]

    def test_health_is_public(self, api):
        """The health routes need no token; under both prefixes health names the application."""
        assert api.client.get("/healthz").json() == {"status": "ok"}
        for prefix in (PREFIX, "/api/apps/avatar-creator"):
            answer = api.client.get(f"{prefix}/health").json()
            assert (answer["status"], answer["app"], answer["ready"]) == ("ok", "avatar-creator", True)
        assert api.client.get("/readyz").json()["status"] == "ok"


class TestCors:
    def test_the_front_end_may_read_answers_and_errors(self, api):
        """An allowed origin gets its headers on success, on errors and on unknown routes."""
        for path in ("/healthz", f"{PREFIX}/projects", "/nope"):
            headers = api.client.get(path, headers={"Origin": HOME}).headers
            assert headers["access-control-allow-origin"] == HOME
            assert "X-Request-Id" in headers["access-control-expose-headers"]

    def test_another_origin_gets_nothing(self, api):
        """An origin that is not listed gets no Access-Control-Allow-Origin."""
        for origin in ("http://evil.example", HOME + ".evil.example", "null"):
            headers = api.client.get("/healthz", headers={"Origin": origin}).headers
            assert "access-control-allow-origin" not in headers

    def test_a_preflight_passes_for_the_front_end_alone(self, api):
        """A preflight for JSON with a token passes from the front end, and is a 400 from other origins."""
        path = f"{PREFIX}/projects"
        preflight = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        allowed = api.client.options(path, headers=preflight | {"Origin": HOME})
        assert allowed.status_code == 204
        assert allowed.headers["access-control-allow-origin"] == HOME
        assert "authorization" in allowed.headers["access-control-allow-headers"].lower()
        assert "POST" in allowed.headers["access-control-allow-methods"]
        refused = api.client.options(path, headers=preflight | {"Origin": "http://evil.example"})
        assert refused.status_code == 400
        assert "access-control-allow-origin" not in refused.headers

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


class TestBug:
    @pytest.fixture
    def broken(self, api):
        """The application with one more route, which fails."""

        @get("/broken", public=True, sync_to_thread=False)
        def broken() -> None:
            raise RuntimeError("the innermost detail")

        api.client.app.register(broken)
        return api

    def test_a_bug_leaks_no_detail(self, broken):
        """An unexpected exception is answered 500 in the contract's shape, without any detail."""
        answer = broken.client.get("/broken")
        error = broken.refused(answer, 500, "INTERNAL_ERROR")
        assert error == {"message": "An internal error occurred", "code": "INTERNAL_ERROR", "statusCode": 500}
        assert "innermost" not in answer.text
        assert "Traceback" not in answer.text

    def test_a_bug_is_logged_with_its_request(self, broken, log_lines):
        """The log has the bug's traceback under the request id that the client got."""
        request_id = broken.client.get("/broken").json()["requestId"]
        (line,) = [line for line in log_lines() if line["event"] == "request.failed"]
        assert line["request_id"] == request_id
        assert line["path"] == "/broken"
        assert "the innermost detail" in line["exception"]

    def test_the_server_goes_on_after_it(self, broken):
        """After a bug the next request is answered as usual."""
        broken.client.get("/broken")
        assert isinstance(broken.client, TestClient)
        assert broken.client.get("/readyz").status_code == 200
