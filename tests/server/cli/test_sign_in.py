"""The command that lets a user in to the page."""

import json

import pytest

from server.accounts import sign_in
from tests.databases import ONE_DATABASE

pytestmark = ONE_DATABASE


@pytest.fixture
def user(cli):
    made = cli("users", "create", "--email", "ada@example.com", "--json")
    return json.loads(made.stdout)["userId"]


class TestLink:
    def test_it_signs_the_user_in(self, cli, uow, user):
        """The link is of this machine's address and its code gives a key of the user."""
        printed = cli("link", "ada@example.com", PORT="5007").stdout.strip()
        address, _, code = printed.partition("#code=")
        assert address == "http://127.0.0.1:5007/"
        assert sign_in.exchange(uow, code).stored.user_id == user

    def test_behind_a_proxy(self, cli, user):
        """With --url the link is of the address that users reach."""
        printed = cli("link", user, "--url", "https://avatars.example.com/").stdout
        assert printed.startswith("https://avatars.example.com/#code=")

    def test_nobody(self, cli):
        """A link for somebody unknown is refused in a sentence."""
        refused = cli("link", "nobody")
        assert refused.exit_code == 1
        assert "nobody" in refused.stderr
        assert isinstance(refused.exception, SystemExit)
