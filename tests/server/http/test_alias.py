import pytest

from server.http.alias import ALIAS, PREFIX
from tests.databases import ONE_DATABASE

pytestmark = ONE_DATABASE


class TestAlias:
    def test_both_prefixes_lead_to_one_route(self, api, make_account, log_lines):
        """What is made under one prefix is read under the other, and the log names one route."""
        account = make_account()
        lines = log_lines()
        made = api.client.post(f"{ALIAS}/projects", json={"name": "Team"}, headers=account.headers)
        path = f"/projects/{made.json()['project']['id']}"
        answers = [api.client.get(prefix + path, headers=account.headers) for prefix in (PREFIX, ALIAS)]
        assert answers[0].json() == answers[1].json()
        assert {line["route"] for line in log_lines()[len(lines) :] if line["method"] == "GET"} == {
            PREFIX + "/projects/{project_id}"
        }

    @pytest.mark.parametrize("path", ["", "/", "/nope", "x", "x/projects"])
    def test_what_has_no_route(self, api, path):
        """Behind the alias there is what is behind the prefix, and beside it nothing."""
        answers = [api.client.get(prefix + path) for prefix in (PREFIX, ALIAS)]
        for answer in answers:
            api.refused(answer, 404, "ENDPOINT_NOT_FOUND")

    def test_only_at_the_beginning(self, api):
        """The alias inside a path is a part of it like any other."""
        api.refused(api.client.get(f"/x{ALIAS}/health"), 404, "ENDPOINT_NOT_FOUND")
        assert api.client.get(f"{ALIAS}/health").status_code == 200
