import pytest

from server.cli import main
from tests.databases import OWNER, SERVER, as_role
from tests.server.cli.results import commands

NEEDS_MIGRATION = [
    ("seed",),
    ("models",),
    ("users", "create"),
    ("users", "set-tier", "a", "pro"),
    ("keys", "create", "a"),
    ("keys", "revoke", "a"),
    ("credits", "grant", "a", "1"),
    ("generations", "cancel", "a"),
    ("worker",),
]
AWAY = "postgresql://me:hidden-word@127.0.0.1:1/db"


class TestEveryCommand:
    def test_takes_a_data_folder(self, bare):
        """Every command has --data-dir and a help text, except bench and try, which have others."""
        by_words = dict(commands(main))
        assert len(by_words) >= 30
        del by_words[("bench",)], by_words[("try",)]
        for words, command in by_words.items():
            assert "--data-dir" in {option for each in command.params for option in each.opts}, words
            shown = bare(*words, "--help")
            assert shown.exit_code == 0
            assert "--data-dir" in shown.output

    def test_a_bad_setting_is_reported_by_its_name(self, bare):
        """An unusable variable stops a command with an error that names it, not with a traceback."""
        for name, value in (
            ("PORT", "http"),
            ("MODEL_PROFILE", "huge"),
            ("DATABASE_URL", "mysql://hidden-word"),
        ):
            result = bare("doctor", **{name: value})
            assert result.exit_code == 1
            assert f"{name} must be" in result.stderr
            assert "hidden-word" not in result.output

    @pytest.mark.parametrize("words", NEEDS_MIGRATION, ids=" ".join)
    def test_an_unmigrated_database_is_reported(self, bare, words):
        """On an unmigrated database a command prints what to run."""
        result = bare(*words)
        assert result.exit_code == 1
        assert "Run 'avatar-creator migrate' first" in result.stderr
        assert isinstance(result.exception, SystemExit)

    @pytest.mark.parametrize("words", [("migrate",), ("seed",), ("users", "create")], ids=" ".join)
    def test_a_database_that_is_away_is_reported(self, bare, words):
        """A database that does not answer is reported in a sentence without its password."""
        result = bare(*words, DATABASE_URL=AWAY)
        assert result.exit_code == 1
        assert "The database does not answer" in result.stderr
        assert "hidden-word" not in result.output
        assert isinstance(result.exception, SystemExit)


class TestMigrateAndSeed:
    def test_a_laptop_starts_from_nothing(self, bare, tmp_path):
        """On an empty folder migrate and seed create a database; a second run changes nothing."""
        for _ in range(2):
            assert bare("migrate").exit_code == 0
        assert (tmp_path / "data" / "avatar-creator.db").exists()
        assert bare("seed").stdout == "Wrote 4 of 4 entries.\n"
        assert bare("seed").stdout == "Wrote 0 of 4 entries.\n"
        assert bare("seed", FLUX_MODEL="me/flux").stdout == "Wrote 3 of 4 entries.\n"

    def test_the_data_folder_is_the_one_of_the_command_line(self, bare, tmp_path):
        """--data-dir wins over DATA_DIR."""
        assert bare("migrate", "--data-dir", str(tmp_path / "other")).exit_code == 0
        assert (tmp_path / "other" / "avatar-creator.db").exists()
        assert not (tmp_path / "data").exists()


class TestRoles:
    @pytest.fixture
    def passwords(self, tmp_path):
        """The files with the passwords of both roles, as options."""
        for role in (OWNER, SERVER):
            (tmp_path / role.name).write_text(f"{role.password}\n")
        return (
            f"--owner-password={tmp_path / OWNER.name}",
            f"--server-password={tmp_path / SERVER.name}",
        )

    def test_an_operator_makes_them_and_migrates(self, bare, empty_postgres, passwords):
        """The superuser makes both roles, the owner migrates, and the server seeds and serves."""
        with empty_postgres() as url:
            made = bare("roles", *passwords, DATABASE_URL=url)
            assert (made.exit_code, made.output) == (
                0,
                "avatar_owner owns the database, avatar_server serves.\n",
            )
            migrated = bare("migrate", "--grant-to", SERVER.name, DATABASE_URL=as_role(url, OWNER))
            assert migrated.exit_code == 0, migrated.output
            seeded = bare("seed", DATABASE_URL=as_role(url, SERVER))
            assert (seeded.exit_code, seeded.output) == (0, "Wrote 4 of 4 entries.\n")

    def test_what_cannot_be_is_said(self, bare, empty_postgres, passwords, tmp_path):
        """Roles on SQLite, an unknown role and an empty file each stop the command in words."""
        assert "Only PostgreSQL has roles" in bare("roles", *passwords).stderr
        assert "Only PostgreSQL has roles" in bare("migrate", "--grant-to", SERVER.name).stderr
        with empty_postgres() as url:
            assert "no role nobody" in bare("migrate", "--grant-to", "nobody", DATABASE_URL=url).stderr
            (tmp_path / SERVER.name).write_text("\n")
            assert f"{SERVER.name} has no text in it" in bare("roles", *passwords, DATABASE_URL=url).stderr
