import pytest
from sqlalchemy import delete, text, update

from catalog.entries import shipped_entries
from inference.local import devices
from server.cli import drawing_roles, options
from server.credits.tables import Account
from server.entries.tables import CatalogEntry
from server.scheduling.claim_policy import LOCAL
from server.scheduling.registry import WorkerRegistry

AWAY = "postgresql://me:hidden-word@127.0.0.1:1/db"


def missing(result):
    """Check the exit code and return what is missing, by subject."""
    absent = [line.split(maxsplit=1)[1] for line in result.stdout.splitlines() if line.startswith("missing")]
    assert result.exit_code == (1 if absent else 0)
    return dict(line.split(": ", 1) for line in absent)


class TestDoctor:
    def test_all_well(self, cli):
        """On a migrated and seeded database with a Redis nothing is missing, and the exit code is 0."""
        result = cli("doctor")
        assert missing(result) == {}
        for words in ("is migrated", "4 of 4 entries", "sum to zero", "it answers", "are installed"):
            assert words in result.stdout

    def test_an_empty_folder_has_no_database(self, bare, tmp_path):
        """Before the first start the database is reported as missing, and the doctor creates nothing."""
        assert "avatar-creator up" in missing(bare("doctor"))["database"]
        assert not (tmp_path / "data").exists()

    def test_an_unmigrated_database(self, bare, tmp_path):
        """A database without tables is reported with the command to run."""
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "avatar-creator.db").touch()
        assert "avatar-creator migrate" in missing(bare("doctor"))["database"]

    def test_a_database_that_is_away(self, bare):
        """A database that does not answer is reported without its password."""
        result = bare("doctor", DATABASE_URL=AWAY)
        assert "does not answer" in missing(result)["database"]
        assert "hidden-word" not in result.output

    def test_an_unseeded_catalogue(self, cli, owner):
        """Without an entry only the catalogue is missing."""
        with owner.begin() as tx:
            tx.session.execute(delete(CatalogEntry))
        absent = missing(cli("doctor"))
        assert absent.keys() == {"catalogue"}
        assert "avatar-creator seed" in absent["catalogue"]

    def test_a_malformed_entry(self, cli, uow):
        """An entry that an operator broke is named, and the other checks still run."""
        with uow.begin() as tx:
            broken = "UPDATE ai_models SET capabilities = '{}' WHERE model_key LIKE '%schnell%'"
            tx.session.execute(text(broken))
        result = cli("doctor")
        assert "flux-schnell-fast" in missing(result)["catalogue"]
        assert "sum to zero" in result.stdout

    def test_a_ledger_that_drifts(self, cli, uow, make_account):
        """An account whose credits were changed by hand is reported."""
        user = make_account(credits=5).user_id
        with uow.begin() as tx:
            tx.session.execute(update(Account).where(Account.user_id == user).values(available=6))
        assert "1 accounts drift" in missing(cli("doctor"))["ledger"]

    @pytest.mark.parametrize("url", ["redis://:hidden-word@127.0.0.1:1/0", "redis://:hidden-word@host:port"])
    def test_a_redis_that_is_away(self, cli, url):
        """A Redis that does not answer, or whose address is malformed, is reported without its password."""
        result = cli("doctor", REDIS_URL=url)
        absent = missing(result)
        assert absent.keys() == {"redis"}
        assert "REDIS_URL" in absent["redis"]
        assert "hidden-word" not in result.output

    def test_weights_of_the_full_profile(self, cli, tmp_path, monkeypatch):
        """The full profile needs each model in MODELS_DIR or the hub's cache, or a key to fetch it."""
        monkeypatch.setattr(devices, "require_fit", lambda *_, **__: None)
        (tmp_path / "models").mkdir()
        absent = missing(cli("doctor", MODEL_PROFILE="full"))
        assert "FLUX.1-dev" in absent["weights"]
        assert "avatar-creator weights download" in absent["weights"]
        fetched = cli("doctor", MODEL_PROFILE="full", HUGGINGFACE_API_KEY="hf_x")
        assert missing(fetched) == {}
        assert "the worker fetches them" in fetched.stdout
        for entry in shipped_entries():
            files = {entry.model_id: "model_index.json"}
            if entry.adapter:
                files[entry.adapter.model_id] = entry.adapter.weight_name
            for model, file in files.items():
                (tmp_path / "models" / model).mkdir(parents=True, exist_ok=True)
                (tmp_path / "models" / model / file).touch()
        whole = cli("doctor", MODEL_PROFILE="full")
        assert missing(whole) == {}
        assert "all models of the catalogue are on this machine" in whole.stdout


class TestRoles:
    @pytest.mark.parametrize(
        ("lacking", "environ", "role"),
        [
            ("torch", {}, "role worker"),
            ("huggingface_hub", {"INFERENCE_BACKEND": "huggingface"}, "role hosted"),
        ],
    )
    def test_an_installation_that_only_serves(self, cli, uow, monkeypatch, lacking, environ, role):
        """Without the libraries of a role it is missing only where no worker elsewhere plays it."""

        def without(name):
            return None if name == lacking else object()

        monkeypatch.setattr(options, "find_spec", without)
        monkeypatch.setattr(drawing_roles, "find_spec", without)
        absent = missing(cli("doctor", **environ))
        assert absent.keys() == {role}
        assert lacking in absent[role]
        with uow.begin() as tx:
            backend = environ.get("INFERENCE_BACKEND", LOCAL)
            WorkerRegistry(tx).record_heartbeat("gpu-one", backend, accepts=True)
        served = cli("doctor", **environ)
        assert missing(served) == {}
        assert "1 elsewhere are ready" in served.stdout

    def test_a_newer_release_has_migrated(self, cli, owner):
        """A revision of a newer release is no fault: migrations only add."""
        with owner.begin() as tx:
            tx.session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        assert missing(cli("doctor")) == {}
        assert cli("models").exit_code == 0
