import json

import click
import pytest
from rich.console import Console
from sqlalchemy import text

from catalog.entries import shipped_entries
from server.entries.service import examine, seed
from tests.server.cli.results import lines, refused


class TestModels:
    @pytest.mark.parametrize("columns", [None, 80])
    def test_the_catalogue_is_listed_with_prices_and_licences(self, cli, monkeypatch, columns):
        """Every entry has a line with its price and size, also on 80 columns, and is under its licence."""
        if columns:
            monkeypatch.setattr(Console, "is_terminal", True)
        shown = click.unstyle("\n".join(lines(cli("models", COLUMNS=str(columns or ""))))).splitlines()
        table = shown[: shown.index("")]
        assert max(map(len, table)) <= 80
        for entry in shipped_entries():
            (row,) = [line for line in table if line.startswith(f"{entry.short_key} ")]
            assert f" {entry.credit_cost} " in row
            assert f"{entry.width_px}x{entry.height_px}" in row
            assert any(line.startswith(entry.licence.name) and entry.short_key in line for line in shown)
            assert f"  {entry.licence.note}" in shown

    def test_for_programs_all_is_there(self, cli):
        """With --json each entry has its whole key, its model and its licence."""
        listed = json.loads(lines(cli("models", "--json"))[0])
        assert {entry["key"]: entry["licence"] for entry in listed} == {
            entry.key: entry.licence.name for entry in shipped_entries()
        }

    def test_a_malformed_entry_is_named_after_the_rest(self, cli, uow):
        """A malformed entry is reported on standard error, and the exit code is 1."""
        entry = shipped_entries()[0]
        with uow.begin() as tx:
            broken = "UPDATE ai_models SET capabilities = '{}' WHERE model_key = :key"
            tx.session.execute(text(broken), {"key": entry.key})
        result = cli("models")
        assert result.exit_code == 1
        assert entry.key in result.stderr
        assert all(other.short_key in result.stdout for other in shipped_entries() if other != entry)


class TestEntries:
    def found(self, uow, key):
        """Return an entry from the database."""
        return next(entry for entry in examine(uow)[0] if entry.key == key)

    def test_an_operator_changes_the_offer(self, cli, uow):
        """An entry is priced and taken off the offer by either form of its key, and seeding leaves both."""
        entry = shipped_entries()[0]
        assert lines(cli("entries", "price", entry.short_key, "9")) == [f"{entry.key} costs 9 credits now."]
        assert lines(cli("entries", "disable", entry.key)) == [f"{entry.key} is not on offer now."]
        seed(uow, shipped_entries())
        assert (self.found(uow, entry.key).credit_cost, self.found(uow, entry.key).enabled) == (9, False)
        lines(cli("entries", "enable", entry.short_key))
        assert self.found(uow, entry.key).enabled

    def test_a_change_is_logged(self, cli):
        """The log has what the entry was and what it is."""
        entry = shipped_entries()[0]
        logged = [json.loads(line) for line in cli("entries", "price", entry.key, "9").stderr.splitlines()]
        (line,) = [line for line in logged if line["event"] == "entry.changed"]
        assert (line["entry"], line["before"], line["after"]) == (
            entry.key,
            {"credit_cost": entry.credit_cost},
            {"credit_cost": 9},
        )

    def test_an_unknown_entry_is_refused(self, cli):
        """An entry that there is none of is refused with those that there are."""
        refused(cli("entries", "disable", "flux-ultra"), shipped_entries()[0].key)
