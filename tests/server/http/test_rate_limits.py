import re
import time

import httpx
import pytest

from server.db.migrate import unmigrate
from server.http.rate_limits import ADDRESS_LIMITS, EXEMPT, HEADERS, MARK, USER_LIMITS
from server.settings.groups import RateLimitSettings
from tests.databases import ONE_DATABASE
from tests.server.http.serving import served

pytestmark = ONE_DATABASE

PREFIX = "/api/avatar-creator"
PREFIXES = (PREFIX, "/api/apps/avatar-creator")
POPULAR = "/api/models/popular"
DRAW_AT_ONCE = [
    "/v1/images/generations",
    "/models/{repo:path}",
    "/v1/predictions",
    "/v1/models/{owner:str}/{name:str}/predictions",
    "/fal/run/{application:path}",
    "/sdapi/v1/txt2img",
]
"""The routes of dialects that count as submissions. fal's queue counts in its handler: repetitions do not."""
WRONG = {"Authorization": "Bearer ac_wrong"}
LIMITED = {
    "/projects": "projects",
    "/projects/{project_id:str}/avatars/generate": "generate",
    "/projects/{project_id:str}/avatars/upload": "upload",
    "/projects/{project_id:str}/avatars/from-preset": "from_preset",
}
"""The routes that the contract limits, all of them POST."""


@pytest.fixture
def open_limited(open_api):
    """Open the application with rate limits."""
    return lambda **changes: open_api(rate_limits="on", **changes)


def state(answer):
    """Return the limit and what remains from an answer's headers; the reset is in the future."""
    limit, remaining, reset = (int(answer.headers[name]) for name in HEADERS)
    assert reset > time.time()
    return limit, remaining


def exceeded(api, answer):
    """Check that an answer is the contract's 429 with a time to wait, and return the error."""
    error = api.refused(answer, 429, "RATE_LIMIT_EXCEEDED")
    assert error["retryable"] is True
    assert error["retryAfter"] >= 1
    # Both name the same moment, in whole seconds.
    assert abs(int(answer.headers[HEADERS[2]]) - time.time() - error["retryAfter"]) < 2
    return error


class TestUsers:
    def test_a_dry_run_is_not_a_generation(self, open_limited, make_account):
        """Asking for prices leaves the generations, and has a limit of its own."""
        account = make_account()
        with open_limited(rate_limit_generate="1/minute", rate_limit_quotes="2/minute") as api:
            path = f"{PREFIX}/projects/{account.project_id}/avatars/generate"
            wish = {"name": "Ada", "prompt": "portrait of a person"}

            def ask(query):
                return api.client.post(path + query, json=wish, headers=account.headers)

            assert [ask("?dryRun=true").status_code for _ in range(2)] == [200, 200]
            assert "2 dry runs per minute" in exceeded(api, ask("?dryRun=true"))["message"]
            assert ask("").status_code == 200
            for query in ("", "?dryRun=1", "?dryRun=true&dryRun=false"):
                exceeded(api, ask(query))

    def test_one_generation_too_many(self, open_limited, make_account):
        """The sixth generation within a minute is refused with the time to wait, and holds nothing."""
        account = make_account()
        with open_limited() as api:
            answers = [api.generate(account) for _ in range(6)]
            assert [answer.status_code for answer in answers] == [200] * 5 + [429]
            assert [state(answer) for answer in answers] == [(5, left) for left in (4, 3, 2, 1, 0, 0)]
            error = exceeded(api, answers[5])
            words = "Too many requests: at most 5 generations per minute. Please try again in [0-9]+ s"
            assert re.fullmatch(words, error["message"])
            assert api.generations() == 5
            assert api.account(account) == (60, 40)

    def test_a_refused_request_counts_too(self, open_limited, make_account):
        """A request that is answered 400 or 402 is counted, and its answer has the headers."""
        account = make_account(credits=0)
        with open_limited() as api:
            answers = [api.generate(account, name=""), api.generate(account), api.post_body(account, b"{")]
            assert [answer.status_code for answer in answers] == [400, 402, 400]
            assert [state(answer) for answer in answers] == [(5, 4), (5, 3), (5, 2)]

    def test_both_prefixes_are_one_limit_and_users_are_not(self, open_limited, make_account):
        """A user has one limit under both prefixes, and another user has another."""
        account, other = make_account(), make_account()
        with open_limited(rate_limit_generate="2/minute") as api:
            statuses = [api.generate(account, prefix).status_code for prefix in PREFIXES * 2]
            assert statuses == [200, 200, 429, 429]
            assert api.generate(other).status_code == 200

    def test_processes_share_a_limit(self, open_limited, make_account):
        """Two API processes on one Redis count together."""
        account = make_account()
        three = {"rate_limit_generate": "3/minute"}
        with open_limited(**three) as one, open_limited(**three) as two:
            assert [api.generate(account).status_code for api in (one, two) * 2] == [200, 200, 200, 429]

    def test_projects(self, open_limited, make_account):
        """The twenty-first project within an hour is refused; reading projects is not counted."""
        account = make_account()
        with open_limited() as api:
            path = f"{PREFIX}/projects"
            for left in range(19, -1, -1):
                answer = api.client.post(path, json={"name": "One"}, headers=account.headers)
                assert (answer.status_code, state(answer)) == (200, (20, left))
            exceeded(api, api.client.post(path, json={"name": "One"}, headers=account.headers))
            read = api.client.get(path, headers=account.headers)
            assert read.status_code == 200
            assert not {name.lower() for name in HEADERS} & set(read.headers)
            assert api.generate(account).status_code == 200

    def test_limits_can_be_switched_off(self, open_api, make_account):
        """With RATE_LIMITS=off nothing is limited, with `none` one limit is not; neither shows headers."""
        account = make_account(credits=200)
        for changes in ({"rate_limits": "off"}, {"rate_limits": "on", "rate_limit_generate": "none"}):
            with open_api(**changes) as api:
                answers = [api.generate(account) for _ in range(6)]
                assert {answer.status_code for answer in answers} == {200}
                assert HEADERS[0] not in answers[0].headers

    def test_redis_away_leaves_the_limit(self, open_limited, make_account):
        """Without Redis the process limits by itself."""
        account = make_account()
        with open_limited(redis_url="redis://127.0.0.1:1/0") as api:
            assert [api.generate(account).status_code for _ in range(6)] == [200] * 5 + [429]

    def test_a_page_of_another_origin_may_read_the_headers(self, open_limited, make_account):
        """An answer of 429 carries the CORS headers, which expose those of the limit."""
        account = make_account()
        with open_limited(rate_limit_projects="1/hour") as api:
            headers = account.headers | {"Origin": "http://localhost:5173"}
            first, second = (
                api.client.post(f"{PREFIX}/projects", json={"name": "One"}, headers=headers) for _ in range(2)
            )
            assert (first.status_code, second.status_code) == (200, 429)
            for answer in (first, second):
                assert answer.headers["access-control-allow-origin"] == "http://localhost:5173"
                exposed = answer.headers["access-control-expose-headers"].split(", ")
                assert {*HEADERS, "Retry-After"} <= set(exposed)


class TestFailedAuthentications:
    def test_too_many_are_refused_before_the_database_is_asked(self, open_limited, make_account, owner):
        """After too many wrong tokens an address is refused, right token or wrong, without the database."""
        account = make_account()
        path = f"{PREFIX}/projects"
        with open_limited(rate_limit_failed_authentications="3/minute") as api:
            for left in (2, 1, 0):
                answer = api.client.get(path, headers=WRONG)
                api.refused(answer, 401, "TOKEN_INVALID")
                assert state(answer) == (3, left)
                assert api.client.get(path, headers=account.headers).status_code == 200
            exceeded(api, api.client.get(path, headers=WRONG))
            unmigrate(owner.engine)
            for headers in (WRONG, account.headers):
                error = exceeded(api, api.client.get(path, headers=headers))
                assert "at most 3 failed authentications per minute" in error["message"]

    def test_a_malformed_header_is_a_failure(self, open_limited):
        """Another scheme and a token that is too long count as failed authentications."""
        with open_limited(rate_limit_failed_authentications="2/minute") as api:
            path = "/api/credits/balance"
            for header in ("Basic YTpi", "Bearer " + "x" * 5000):
                assert api.client.get(path, headers={"Authorization": header}).status_code == 401
            exceeded(api, api.client.get(path, headers=WRONG))

    def test_other_errors_are_no_failures(self, open_limited, make_account, owner):
        """What a user's valid token is answered is not counted, nor a database that is away."""
        account = make_account()
        with open_limited(rate_limit_failed_authentications="1/minute") as api:
            for _ in range(3):
                assert api.client.get(f"{PREFIX}/projects/none", headers=account.headers).status_code == 404
            unmigrate(owner.engine)
            for _ in range(3):
                api.refused(api.client.get(f"{PREFIX}/projects", headers=WRONG), 503, "SERVICE_UNAVAILABLE")


class TestAnonymous:
    def test_requests_without_a_token_are_counted_by_address(self, open_limited, make_account):
        """Public routes and those that miss a token share a limit, also if a token is sent to the former."""
        account = make_account()
        with open_limited(rate_limit_anonymous="4/minute") as api:
            answers = [
                api.client.get(POPULAR),
                api.client.get(POPULAR, headers=account.headers),
                api.client.get(f"{PREFIX}/projects"),
                api.client.get("/schema/openapi.json"),
            ]
            assert [answer.status_code for answer in answers] == [200, 200, 401, 200]
            assert [state(answer) for answer in answers] == [(4, left) for left in (3, 2, 1, 0)]
            for path in (POPULAR, f"{PREFIX}/projects"):
                error = exceeded(api, api.client.get(path))
                assert "at most 4 requests without a token per minute" in error["message"]
            assert api.client.get(f"{PREFIX}/projects", headers=account.headers).status_code == 200

    def test_images_and_probes_are_exempt(self, open_limited):
        """Images, health checks and preflights are never limited."""
        with open_limited(rate_limit_anonymous="1/minute") as api:
            assert api.client.get(POPULAR).status_code == 200
            assert api.client.get(POPULAR).status_code == 429
            for path in ("/healthz", "/readyz", f"{PREFIX}/health"):
                assert api.client.get(path).status_code != 429
            assert api.client.get("/uploads/avatar-creator/none").status_code == 404
            assert api.client.options(POPULAR).status_code == 204


class TestAddress:
    @pytest.fixture
    def statuses(self, settings):
        """Ask a route that each address may ask once, with several X-Forwarded-For in turn."""
        changed = settings.changed(rate_limit_anonymous="1/minute")

        def ask(forwarded, trusted):
            client = httpx.Client(trust_env=False)
            with client, served(changed.changed(trusted_proxies=trusted)) as url:
                answers = [client.get(url + POPULAR, headers={"X-Forwarded-For": each}) for each in forwarded]
            return [answer.status_code for answer in answers]

        return ask

    def test_anybody_may_write_the_header(self, statuses, log_lines):
        """Without trusted proxies the address is the peer's, whatever is claimed; the log says so once."""
        assert statuses(["203.0.113.1", "203.0.113.2", "203.0.113.3"], ()) == [200, 429, 429]
        lines = [line for line in log_lines() if line["event"] == "rate_limits.proxy_not_trusted"]
        assert [(line["proxy"], line["setting"]) for line in lines] == [("127.0.0.1", "TRUSTED_PROXIES")]

    def test_a_trusted_proxy_is_believed(self, statuses, log_lines):
        """The address is the last one that is no trusted proxy's: clients forge only those before."""
        forwarded = ["203.0.113.1", "203.0.113.2", "203.0.113.9, 203.0.113.1", "203.0.113.2, 10.1.2.3"]
        assert statuses(forwarded, ("127.0.0.1", "10.0.0.0/8")) == [200, 200, 429, 429]
        assert "rate_limits.proxy_not_trusted" not in [line["event"] for line in log_lines()]

    def test_a_proxy_that_is_not_listed(self, statuses):
        """Trusting one proxy is no trust in another."""
        assert statuses(["203.0.113.1", "203.0.113.2"], ("10.0.0.0/8",)) == [200, 429]


class TestMarks:
    @pytest.fixture
    def marks(self, api):
        """The marks of all routes by method and path."""
        return {
            (method, route.path): handler.opt.get(MARK)
            for route in api.client.app.routes
            for handler in route.route_handlers
            for method in handler.http_methods
        }

    def test_every_route_that_the_contract_limits_is_marked(self, marks):
        """The contract's limited routes have their mark, and no other route has one."""
        limited = {("POST", PREFIX + path): name for path, name in LIMITED.items()}
        limited |= {("POST", path): "generate" for path in DRAW_AT_ONCE}
        assert {key: mark for key, mark in marks.items() if mark in USER_LIMITS} == limited

    def test_no_other_mark_is_used(self, marks):
        """A mark is the name of a user's limit or the exemption, and every limit is a setting."""
        assert set(marks.values()) <= {*USER_LIMITS, EXEMPT, None}
        assert {*USER_LIMITS, *ADDRESS_LIMITS} == RateLimitSettings.model_fields.keys() - {"switch"}

    def test_what_needs_a_token_is_not_exempt(self, marks, api):
        """Only public routes are exempt."""
        public = {
            route.path
            for route in api.client.app.routes
            for handler in route.route_handlers
            if handler.opt.get("public")
        }
        assert {path for (_, path), mark in marks.items() if mark == EXEMPT} <= public
