"""What the benchmark starts."""

import pytest

from server.cli.benchmark.plan import Weights
from server.cli.benchmark.running import environment, prepared_folder


@pytest.fixture
def operators(tmp_path, monkeypatch):
    """The environment of a server that is in use, and the file of its database."""
    password = tmp_path / "password"
    password.write_text("secret\n", "utf-8")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'in-use.db'}")
    monkeypatch.setenv("REDIS_URL", "redis://in-use:6379/0")
    monkeypatch.setenv("REDIS_PASSWORD_FILE", str(password))
    return tmp_path / "in-use.db"


class TestOperatorsOwn:
    def test_a_database_in_use_is_left_alone(self, operators):
        """What is prepared for a measurement is a database of its own, wherever the operator's is."""
        with prepared_folder() as folder:
            assert (folder / "avatar-creator.db").is_file()
        assert not operators.exists()

    def test_processes_are_not_told_of_it(self, operators, tmp_path):
        """No process of the benchmark gets an address or a password of the operator's server."""
        told = environment(Weights("miniature"), tmp_path)
        assert told["DATA_DIR"] == str(tmp_path)
        assert not [name for name in told if name.startswith(("DATABASE", "REDIS"))]
