import json
from uuid import uuid4

from server.projects import service as projects
from tests.server.cli.results import lines, refused


class TestGenerations:
    def test_a_cancelled_generation_returns_its_credits_once(self, cli, api, make_account):
        """A pending generation fails as CANCELLED and its credits return; a second call does nothing."""
        account = make_account()
        generation = api.generate(account).json()["generation"]["id"]
        assert api.account(account) == (92, 8)
        unknown = str(uuid4())
        mixed = cli("generations", "cancel", generation, unknown)
        refused(mixed, f"There is no generation {unknown}")
        assert mixed.stdout == "Cancelled 1 of 2.\n"
        assert api.account(account) == (100, 0)
        path = f"/api/avatar-creator/generations/{generation}"
        read = api.client.get(path, headers=account.headers).json()["generation"]
        assert (read["status"], read["errorCode"]) == ("failed", "CANCELLED")
        assert read["errorMessage"].startswith("CANCELLED")
        assert lines(cli("generations", "cancel", generation)) == ["Cancelled 0 of 1."]
        assert api.account(account) == (100, 0)

    def test_they_are_listed_and_shown(self, cli, api, make_account):
        """A user's generations are listed by their status, and one is shown without its prompt."""
        account = make_account()
        generation = api.generate(account).json()["generation"]["id"]
        (listed,) = json.loads(lines(cli("generations", "list", account.user_id, "--json"))[0])
        assert (listed["id"], listed["status"], listed["entry"]) == (generation, "pending", "flux-dev-base")
        none = cli("generations", "list", account.user_id, "--status", "failed", "--json")
        assert lines(none) == ["[]"]
        shown = cli("generations", "show", generation, "--json")
        assert json.loads(lines(shown)[0]).items() >= {"userId": account.user_id, "size": "512x512"}.items()
        assert "red hair" not in shown.output
        refused(cli("generations", "show", "nothing"), "Generation not found")


class TestProjects:
    def test_a_name_moves_no_cursor(self, cli, uow, make_account):
        """What a terminal would obey in a user's text is replaced."""
        account = make_account()
        projects.create(uow, account.caller, "red\x1b[31m\x07")
        shown = cli("projects", "list", account.user_id).stdout
        assert "red\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}" in shown
        assert "\x1b" not in shown

    def test_they_are_listed(self, cli, make_account):
        """A user's projects are listed with the number of their avatars."""
        account = make_account()
        (listed,) = json.loads(lines(cli("projects", "list", account.user_id, "--json"))[0])
        assert (listed["id"], listed["name"], listed["avatars"]) == (account.project_id, "Test", 0)
