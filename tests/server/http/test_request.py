import re

import pytest
from litestar import get
from litestar.params import FromQuery

from tests.databases import ONE_DATABASE

PREFIX = "/api/avatar-creator"


@get("/paged", public=True, sync_to_thread=False)
def paged(limit: FromQuery[int], name: FromQuery[str] = "") -> dict[str, object]:
    """Answer the query's own parameters."""
    return {"limit": limit, "name": name}


@ONE_DATABASE
class TestRequestId:
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

    @pytest.mark.parametrize("sent", ["a", "A-b_c.9", "x" * 64, "7f9c1d2e-0000-4000-8000-000000000000"])
    def test_a_valid_one_is_taken_over(self, api, sent):
        """The client's id is in the header and in the error."""
        answer = api.client.get("/nope", headers={"X-Request-Id": sent})
        assert answer.headers.get_list("x-request-id") == [sent]
        api.refused(answer, 404, "ENDPOINT_NOT_FOUND")

    @pytest.mark.parametrize("sent", ["", "x" * 65, "a b", "a/b", "a\tb", "é", '"', "{}"])
    def test_an_invalid_one_is_replaced(self, api, sent):
        """An id that is too long, or has other characters, is not repeated."""
        answer = api.client.get("/nope", headers={"X-Request-Id": sent.encode()})
        (given,) = answer.headers.get_list("x-request-id")
        assert re.fullmatch("[0-9a-f]{32}", given)


@ONE_DATABASE
class TestCaching:
    def test_nothing_is_stored_unless_it_says_so(self, api):
        """Answers, errors and preflights forbid caching."""
        for path in ("/api/models/popular", "/api/nope", f"{PREFIX}/projects", "/healthz"):
            assert api.client.get(path).headers.get_list("cache-control") == ["no-store"]


class TestQuery:
    @pytest.fixture
    def paged_api(self, api):
        """The application with a route that reads its query."""
        api.client.app.register(paged)
        return api

    def test_a_query_is_read(self, paged_api):
        """Parameters are decoded; of two with one name the last counts, and unknown ones are ignored."""
        answer = paged_api.client.get("/paged?limit=1&limit=2&name=%C3%A9%2F&other=3")
        assert answer.json() == {"limit": 2, "name": "é/"}
        assert paged_api.client.get("/paged?limit=1&name=%ff").status_code == 200

    @pytest.mark.parametrize(
        "query",
        [
            "limit=",
            "limit=x",
            "limit=1.5",
            "limit=" + "9" * 5000,
            "limit=1e400",
            "limit=NaN",
            "limit=%00",
            "",
        ],
    )
    def test_a_bad_parameter_is_named(self, paged_api, query):
        """A parameter that is missing or is no number is refused by its name, without quoting the query."""
        answer = paged_api.client.get(f"/paged?{query}&name=private-words")
        paged_api.refused(answer, 400, "VALIDATION_ERROR", "limit")
        assert "private-words" not in answer.text

    def test_a_missing_parameter_is_named(self, paged_api):
        """A parameter that must be there is named, without quoting the query."""
        answer = paged_api.client.get("/paged?name=private-words")
        paged_api.refused(answer, 400, "VALIDATION_ERROR", "limit")
        assert "private-words" not in answer.text

    @pytest.mark.parametrize(
        ("query", "field"), [("name=a%00b", "name"), ("na%00me=1", "name"), ("x=1&y=%00", "y")]
    )
    def test_nul_is_refused(self, paged_api, query, field):
        """A NUL anywhere in the query is refused: PostgreSQL stores none."""
        paged_api.refused(paged_api.client.get(f"/paged?limit=1&{query}"), 400, "VALIDATION_ERROR", field)


class TestPath:
    @pytest.mark.parametrize("id_", ["%00", "a%00b", "a%2fb", "%2F", "..%2f..%2fhealth", "%252f%00"])
    def test_what_no_id_contains_is_not_found(self, api, make_account, id_):
        """A NUL or an encoded slash in a path is a 404, and leads to no other route."""
        account = make_account()
        for noun in ("projects", "avatars", "generations"):
            answer = api.client.get(f"{PREFIX}/{noun}/{id_}", headers=account.headers)
            api.refused(answer, 404, "ENDPOINT_NOT_FOUND")
        answer = api.client.get(f"{PREFIX}/projects%2F{account.project_id}", headers=account.headers)
        api.refused(answer, 404, "ENDPOINT_NOT_FOUND")
