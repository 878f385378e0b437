import json
import re
from uuid import uuid4

import pytest

from catalog.tiers import Tier
from server.accounts.errors import TokenInvalid
from server.accounts.repository import Users
from server.avatars.tables import Avatar
from server.caller import Caller
from server.credits.repository import Ledger
from server.projects.repository import Projects
from tests.server.stored import add_avatar


def lines(result):
    """Check that a command succeeded, and return its output lines."""
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def refused(result, words):
    """Check that a command failed with a message and without a traceback."""
    assert result.exit_code == 1
    assert words in result.stderr
    assert isinstance(result.exception, SystemExit)


def created(result):
    """Return the line of JSON that describes a new key."""
    (line,) = lines(result)
    answer = json.loads(line)
    assert answer.keys() == {"userId", "apiKey"}
    return answer


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
        ("options", "words"),
        [
            (("--id", ""), "id must have 1 to 64"),
            (("--id", "u" * 65), "id must have 1 to 64"),
            (("--id", "a\nb"), "id must have 1 to 64"),
            (("--email", "e" * 321), "email must have 1 to 320"),
            (("--email", "TAKEN@example.com"), "Another user has the email taken@example.com"),
        ],
    )
    def test_what_cannot_be_a_user_is_refused(self, cli, options, words):
        """A bad id or email, and a taken email, are refused in words, on both databases."""
        created(cli("users", "create", "--email", "taken@example.com", "--json"))
        refused(cli("users", "create", *options), words)

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

    @pytest.mark.parametrize("who", ["demo", "demo@localhost"])
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


class TestCredits:
    def test_credits_are_granted(self, cli, uow, make_account):
        """A grant adds to the available credits and prints the sum."""
        user = make_account(credits=5).user_id
        assert lines(cli("credits", "grant", user, "20")) == [f"User {user} has 25 credits available."]
        with uow.read() as tx:
            assert Ledger(tx).sum_of_postings() == 0
        refused(cli("credits", "grant", "nobody", "20"), "nobody")

    def test_what_was_paid_for_is_a_purchase(self, cli, uow, make_account):
        """A grant is a bonus in the user's history, and with --payment a purchase."""
        user = make_account(credits=0).user_id
        cli("credits", "grant", user, "20", "--reason", "Sorry")
        cli("credits", "grant", user, "100", "--payment", "pay-7")
        with uow.read() as tx:
            entries = Ledger(tx).history(user, 2)
        assert [(entry.kind, entry.payment_id) for entry in entries] == [
            ("purchase", "pay-7"),
            ("bonus", None),
        ]

    def test_a_grant_is_repeated_by_its_reference(self, cli, balance_of, make_account):
        """A grant prints its reference first; repeated with it, it says so and grants nothing."""
        account = make_account(credits=5)
        first = cli("credits", "grant", account.user_id, "20")
        (reference,) = re.findall(r"^Reference (\S+)$", first.stderr, re.MULTILINE)
        for _ in range(2):
            again = cli("credits", "grant", account.user_id, "20", "--reference", reference)
            assert lines(again) == [
                f"This grant was made before. User {account.user_id} has 25 credits available."
            ]
        refused(cli("credits", "grant", account.user_id, "21", "--reference", reference), "another grant")
        assert balance_of(account) == 25
        assert len(lines(cli("credits", "grant", account.user_id, "20"))) == 1
        assert balance_of(account) == 45

    def test_a_payment_counts_once(self, cli, balance_of, make_account):
        """A payment is the reference of its grant, unless the operator names another."""
        account = make_account(credits=0)
        for _ in range(2):
            cli("credits", "grant", account.user_id, "100", "--payment", "pay-7")
        assert balance_of(account) == 100
        cli("credits", "grant", account.user_id, "100", "--payment", "pay-7", "--reference", "second half")
        assert balance_of(account) == 200

    @pytest.mark.parametrize("reference", ["", "x" * 101])
    def test_a_reference_has_a_length(self, cli, make_account, reference):
        """An empty reference and one of more than 100 characters are refused."""
        refusal = cli("credits", "grant", make_account().user_id, "5", "--reference", reference)
        assert refusal.exit_code == 2
        assert "1 to 100 characters" in refusal.stderr

    def test_an_amount_is_a_positive_number(self, cli, make_account):
        """Nothing, less than nothing and words are no amounts."""
        user = make_account().user_id
        for amount in ("0", "-5", "many"):
            assert cli("credits", "grant", "--", user, amount).exit_code == 2


class TestGenerations:
    def test_a_cancelled_generation_returns_its_credits_once(self, cli, api, make_account):
        """A pending generation fails as CANCELLED and its credits return; a second call does nothing."""
        account = make_account()
        generation = api.generate(account).json()["generation"]["id"]
        assert api.account(account) == (92, 8)
        assert lines(cli("generations", "cancel", generation, str(uuid4()))) == ["Cancelled 1 of 2."]
        assert api.account(account) == (100, 0)
        path = f"/api/avatar-creator/generations/{generation}"
        read = api.client.get(path, headers=account.headers).json()["generation"]
        assert (read["status"], read["errorCode"]) == ("failed", "CANCELLED")
        assert read["errorMessage"].startswith("CANCELLED")
        assert lines(cli("generations", "cancel", generation)) == ["Cancelled 0 of 1."]
        assert api.account(account) == (100, 0)
