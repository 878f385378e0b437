import pytest
from litestar import get
from litestar.testing import TestClient

from tests.databases import ONE_DATABASE

pytestmark = ONE_DATABASE

PREFIX = "/api/avatar-creator"


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

    def test_the_api_describes_itself(self, api):
        """The OpenAPI document is served without a token and contains both prefixes."""
        answer = api.client.get("/schema/openapi.json")
        assert answer.status_code == 200
        paths = answer.json()["paths"]
        for prefix in (PREFIX, "/api/apps/avatar-creator"):
            assert "post" in paths[prefix + "/projects/{project_id}/avatars/generate"]

    def test_health_is_public(self, api, worker_ready):
        """The health routes need no token, and name the application but no configuration."""
        worker_ready()
        assert api.client.get("/healthz").json() == {"status": "ok"}
        for prefix in (PREFIX, "/api/apps/avatar-creator", "/api", ""):
            answer = api.client.get(f"{prefix}/health").json()
            assert answer == {"status": "ok", "app": "avatar-creator", "ready": True}
        assert api.client.get("/readyz").json()["status"] == "ok"


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
        assert line["route"] == "/broken"
        assert "the innermost detail" in line["exception"]

    def test_the_server_goes_on_after_it(self, broken):
        """After a bug the next request is answered as usual."""
        broken.client.get("/broken")
        assert isinstance(broken.client, TestClient)
        assert broken.client.get("/healthz").status_code == 200
