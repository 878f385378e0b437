import pytest
from litestar import get
from litestar.testing import TestClient

from server.http.alias import ALIAS, PREFIX
from tests.databases import ONE_DATABASE

pytestmark = ONE_DATABASE


class TestRoutes:
    def test_an_unknown_route_is_not_found(self, api, make_account, subtests):
        """A path without a route is 404 ENDPOINT_NOT_FOUND, token or not."""
        account = make_account()
        for method, path in (
            ("GET", "/nope"),
            ("GET", f"{PREFIX}/nope"),
            ("GET", "/uploads/avatar-creator/"),
            ("GET", f"{PREFIX}/projects/%2e%2e%2fhealth"),
        ):
            for headers in (account.headers, {}):
                with subtests.test(method=method, path=path):
                    api.refused(api.client.request(method, path, headers=headers), 404, "ENDPOINT_NOT_FOUND")

    def test_the_api_describes_itself(self, api):
        """The OpenAPI document is served without a token, and has each route once."""
        answer = api.client.get("/schema/openapi.json")
        assert answer.status_code == 200
        paths = answer.json()["paths"]
        assert "post" in paths[PREFIX + "/projects/{project_id}/avatars/generate"]
        assert not any(path.startswith(ALIAS) for path in paths)
        assert ALIAS in answer.json()["info"]["description"]

    def test_health_is_public(self, api, worker_ready):
        """The health routes need no token, and name the application but no configuration."""
        worker_ready()
        assert api.client.get("/healthz").json() == {"status": "ok"}
        for prefix in (PREFIX, ALIAS, "/api", ""):
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
