import json
import re

import pytest

from server.credits.repository import Ledger
from tests.server.cli.results import lines, refused


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
        assert "1 to 100 printable characters" in refusal.stderr

    def test_what_became_of_them_is_shown(self, cli, api, make_account):
        """The balance has what is held as well, and the history has each change, newest first."""
        account = make_account(credits=20)
        api.generate(account)
        balance = json.loads(lines(cli("credits", "balance", account.user_id, "--json"))[0])
        assert balance == {"userId": account.user_id, "available": 12, "held": 8}
        history = json.loads(lines(cli("credits", "history", account.user_id, "--json"))[0])
        assert [(entry["kind"], entry["amount"], entry["balance"]) for entry in history] == [
            ("usage", -8, 12),
            ("bonus", 20, 20),
        ]
        assert "Test credits" in cli("credits", "history", account.user_id).stdout
        refused(cli("credits", "history", "nobody"), "nobody")

    def test_an_amount_is_a_positive_number(self, cli, make_account):
        """Nothing, less than nothing and words are no amounts."""
        user = make_account().user_id
        for amount in ("0", "-5", "many", str(2**31), str(2**64)):
            assert cli("credits", "grant", "--", user, amount).exit_code == 2
