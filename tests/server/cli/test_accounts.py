import json

import click
import pytest
from rich.console import Console

from catalog.tiers import Tier
from server.accounts.errors import TokenInvalid
from server.accounts.repository import Users
from server.avatars.tables import Avatar
from server.caller import Caller
from server.credits.repository import Ledger
from server.projects.repository import Projects
from tests.server.cli.results import created, lines, refused
from tests.server.stored import add_avatar


class TestUsers:
    def test_a_created_user_can_authenticate(self, cli, uow):
        """A new user's key authenticates it with its tier, and the named credits are available."""
        answer = created(cli("users", "create", "--tier", "pro", "--credits", "25", "--json"))
        with uow.read() as tx:
            assert Users(tx).key_holder(answer["apiKey"]).caller == Caller(answer["userId"], Tier.PRO)
            assert Ledger(tx).available(answer["userId"]) == 25
            assert Ledger(tx).sum_of_postings() == 0

    def test_welcome_credits_are_the_default(self, cli, uow):
        """A user gets WELCOME_CREDITS unless --credits names another number, which may be zero."""
        welcomed = created(cli("users", "create", "--json", WELCOME_CREDITS="7"))
        named = created(cli("users", "create", "--credits", "0", "--json", WELCOME_CREDITS="7"))
        plain = created(cli("users", "create", "--json"))
        with uow.read() as tx:
            balances = [Ledger(tx).available(each["userId"]) for each in (welcomed, named, plain)]
        assert balances == [7, 0, 100]

    def test_the_existing_platforms_id_is_kept_and_unique(self, cli):
        """A user of the existing platform keeps its id; a second user of that id is refused."""
        assert created(cli("users", "create", "--id", "platform-7", "--json"))["userId"] == "platform-7"
        refused(cli("users", "create", "--id", "platform-7"), "platform-7 exists already")

    def test_an_existing_user_is_brought_over(self, cli, uow):
        """A user of the existing platform is created with id, tier and email, and the id is then known."""
        options = ("--id", "507f1f77bcf86cd799439011", "--tier", "enterprise", "--email", "Ada@Example.com")
        created(cli("users", "create", *options, "--json"))
        with uow.read() as tx:
            user = Users(tx).find("ada@example.com")
            assert (user.id, user.tier) == ("507f1f77bcf86cd799439011", "enterprise")
            assert Users(tx).visitor(user.id).tier is Tier.ENTERPRISE

    @pytest.mark.parametrize(
        ("options", "words", "exit_code"),
        [
            (("--id", ""), "must have 1 to 64 printable characters", 2),
            (("--id", "u" * 65), "must have 1 to 64 printable characters", 2),
            (("--id", "a\nb"), "must have 1 to 64 printable characters", 2),
            (("--email", "e" * 321), "must have 1 to 320 printable characters", 2),
            (("--email", "TAKEN@example.com"), "Another user has the email taken@example.com", 1),
        ],
    )
    def test_what_cannot_be_a_user_is_refused(self, cli, options, words, exit_code):
        """A bad id or email, and a taken email, are refused in words, on both databases."""
        created(cli("users", "create", "--email", "taken@example.com", "--json"))
        refused(cli("users", "create", *options), words, exit_code)

    def test_a_deleted_user_does_not_come_back(self, cli, uow):
        """A deleted user's key opens nothing, no command finds the user, and the id stays taken."""
        user = created(cli("users", "create", "--id", "ada", "--email", "ada@example.com", "--json"))
        for _ in range(2):
            assert lines(cli("users", "delete", "ada")) == ["User ada and 0 projects are deleted."]
        with uow.read() as tx, pytest.raises(TokenInvalid):
            Users(tx).key_holder(user["apiKey"])
        refused(cli("users", "set-tier", "ada", "pro"), "No user")
        refused(cli("credits", "grant", "ada@example.com", "5"), "No user")
        refused(cli("users", "create", "--id", "ada"), "ada exists already")
        refused(cli("users", "delete", "nobody"), "nobody")

    def test_what_a_deleted_user_made_goes_too(self, cli, api, uow, make_account):
        """Projects and avatars go with the user, a waiting generation is given back, the ledger stays."""
        account, other = make_account(), make_account()
        avatar = add_avatar(uow, account)
        api.generate(account)
        assert api.generations() == 1
        deleted = lines(cli("users", "delete", account.user_id))
        assert deleted == [f"User {account.user_id} and 1 projects are deleted."]
        assert (api.generations(), api.account(account)) == (0, (100, 0))
        with uow.read() as tx:
            assert tx.session.get(Avatar, avatar.id) is None
            assert Projects(tx).newest_of(account.user_id, 10) == []
            assert len(Projects(tx).newest_of(other.user_id, 10)) == 1
            assert Ledger(tx).sum_of_postings() == 0

    @pytest.mark.parametrize("who", ["demo", "demo@localhost", "id:demo"])
    def test_the_demo_user_stays(self, cli, who):
        """The user that `up` works with cannot be deleted."""
        refusal = cli("users", "delete", who)
        assert refusal.exit_code == 2
        assert "avatar-creator up" in refusal.stderr

    def test_for_people_it_says_that_the_key_is_shown_once(self, cli):
        """Without --json the key comes with a warning."""
        text = "\n".join(lines(cli("users", "create", "--email", "ada@example.com")))
        assert "ac_" in text
        assert "only now" in text

    def test_a_tier_is_set_by_id_or_email(self, cli, uow):
        """Another tier counts from the next request on; an unknown user or tier is refused."""
        user = created(cli("users", "create", "--email", "ada@example.com", "--json"))
        for who, tier in ((user["userId"], Tier.BASIC), ("ada@example.com", Tier.ENTERPRISE)):
            assert tier.value in lines(cli("users", "set-tier", who, tier.value))[0]
            with uow.read() as tx:
                assert Users(tx).key_holder(user["apiKey"]).caller.tier is tier
        refused(cli("users", "set-tier", "nobody", "pro"), "nobody")
        assert cli("users", "set-tier", user["userId"], "gold").exit_code == 2

    def test_operators_are_made_and_unmade(self, cli, uow):
        """A user is an operator from `on` to `off`, and nobody is one before."""
        user = created(cli("users", "create", "--json"))
        found = []
        for state in (None, "on", "off"):
            if state:
                assert "operator now" in lines(cli("users", "operator", user["userId"], state))[0]
            with uow.read() as tx:
                found.append(Users(tx).key_holder(user["apiKey"]).caller.is_operator)
        assert found == [False, True, False]
        refused(cli("users", "operator", "nobody", "on"), "nobody")
        assert cli("users", "operator", user["userId"], "maybe").exit_code == 2


class TestLooking:
    def test_users_are_listed_and_shown(self, cli, make_account):
        """The list has the newest users first; one is shown by id or email, with credits and keys."""
        account = make_account(Tier.PRO, credits=30)
        created(cli("users", "create", "--id", "ada", "--email", "ada@example.com", "--json"))
        listed = json.loads(lines(cli("users", "list", "--json"))[0])
        assert [user["id"] for user in listed] == ["ada", account.user_id]
        assert listed[1] == {"id": account.user_id, "tier": "pro", "available": 30, "email": None}
        assert len(json.loads(lines(cli("users", "list", "--limit", "1", "--json"))[0])) == 1
        shown = json.loads(lines(cli("users", "show", "ada@example.com", "--json"))[0])
        assert (shown["id"], shown["held"], len(shown["keys"])) == ("ada", 0, 1)
        refused(cli("users", "show", "nobody"), "nobody")

    def test_for_people_a_list_fits_into_80_columns(self, cli, make_account, monkeypatch):
        """On a terminal of 80 columns ids are in one piece, and no line is longer."""
        monkeypatch.setattr(Console, "is_terminal", True)
        account = make_account()
        shown = click.unstyle("\n".join(lines(cli("users", "list", COLUMNS="80")))).splitlines()
        assert sum(account.user_id in line for line in shown) == 1
        assert max(map(len, shown)) <= 80
        assert "None." in lines(cli("projects", "list", created(cli("users", "create", "--json"))["userId"]))

    def test_the_id_of_one_and_the_email_of_another(self, cli):
        """What is one user's id and another's email is refused with both ids, and nothing is granted."""
        email = "ada@example.com"
        created(cli("users", "create", "--id", email, "--credits", "0", "--json"))
        created(cli("users", "create", "--id", "other", "--email", email, "--credits", "0", "--json"))
        refused(cli("credits", "grant", email, "5"), f"name id:{email} or id:other")
        for who, granted in ((email, 6), ("other", 7)):
            assert lines(cli("credits", "grant", f"id:{who}", str(granted))) == [
                f"User {who} has {granted} credits available."
            ]


class TestKeys:
    def test_keys_are_issued_and_revoked(self, cli, uow):
        """A second key works beside the first; a prefix revokes that key, and no prefix revokes all."""
        user = created(cli("users", "create", "--json"))
        second = created(cli("keys", "create", user["userId"], "--label", "laptop", "--json"))
        assert second["userId"] == user["userId"]

        def works(token):
            try:
                with uow.read() as tx:
                    return Users(tx).key_holder(token).caller.user_id == user["userId"]
            except TokenInvalid:
                return False

        assert works(user["apiKey"])
        assert works(second["apiKey"])
        revoked = lines(cli("keys", "revoke", user["userId"], "--prefix", second["apiKey"][:11]))
        assert revoked == ["Revoked 1 keys."]
        assert (works(user["apiKey"]), works(second["apiKey"])) == (True, False)
        assert lines(cli("keys", "revoke", user["userId"])) == ["Revoked 1 keys."]
        assert not works(user["apiKey"])

    def test_keys_are_listed(self, cli):
        """The list has prefix, label, last use and expiry of each key, and no token."""
        user = created(cli("users", "create", "--json"))
        who = user["userId"]
        second = created(cli("keys", "create", who, "--label", "ci", "--expires-in-days", "7", "--json"))
        newest, first = lines(cli("keys", "list", who))
        assert newest.startswith(f"{second['apiKey'][:11]}  ci  used never  expires 2")
        assert first == f"{user['apiKey'][:11]}  first  used never  expires never"
        assert second["apiKey"] not in newest

    def test_a_key_is_named_by_its_prefix_or_in_full(self, cli):
        """A whole key revokes that key; what names none of the user's keys is refused, and revokes none."""
        who = created(cli("users", "create", "--json"))["userId"]
        second = created(cli("keys", "create", who, "--json"))
        for nonsense in (second["prefix"][:6], second["apiKey"][:-1], "ac_nothing0"):
            refusal = cli("keys", "revoke", who, "--prefix", nonsense)
            refused(refusal, "has no key")
            assert second["apiKey"][11:-1] not in refusal.output
        other = created(cli("users", "create", "--json"))["userId"]
        refused(cli("keys", "revoke", other, "--prefix", second["prefix"]), "has no key")
        assert len(lines(cli("keys", "list", who))) == 2
        assert lines(cli("keys", "revoke", who, "--prefix", second["apiKey"])) == ["Revoked 1 keys."]
        refused(cli("keys", "revoke", who, "--prefix", second["apiKey"]), "has no key")
        (left,) = json.loads(lines(cli("keys", "list", who, "--json"))[0])
        assert (left["label"], left["prefix"] == second["prefix"]) == ("first", False)

    @pytest.mark.parametrize(
        "options",
        [
            ("--label", ""),
            ("--label", "x" * 65),
            ("--expires-in-days", "0"),
            ("--expires-in-days", "3651"),
            ("--expires-in-days", "soon"),
        ],
    )
    def test_what_cannot_be_a_key_is_refused(self, cli, options):
        """A label or a lifetime beyond its limits is refused before a key is issued."""
        user = created(cli("users", "create", "--json"))["userId"]
        assert cli("keys", "create", user, *options).exit_code == 2
        assert len(lines(cli("keys", "list", user))) == 1

    def test_a_user_has_only_so_many_keys(self, cli, uow):
        """The twenty-first valid key is refused with the limit."""
        user = created(cli("users", "create", "--json"))["userId"]
        with uow.begin() as tx:
            for _ in range(19):
                Users(tx).mint_key(user, "test")
        refused(cli("keys", "create", user), "at most 20 valid API keys")

    @pytest.mark.parametrize("command", ["create", "list", "revoke"])
    def test_an_unknown_user_is_refused(self, cli, command):
        """Keys of an unknown user can be neither issued, listed nor revoked."""
        refused(cli("keys", command, "nobody"), "nobody")
