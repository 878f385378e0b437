"""What `up` prepares: the demo account, whose key an operator has exported into a shell."""

import stat

import pytest

from server.accounts import service as accounts
from server.supervisor.preparation import DEMO_ID, prepare

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def prepared(settings):
    """Prepare the data folder as each `up` does; return the demo key."""
    settings.server.data_dir.mkdir()
    return lambda: prepare(settings, "http://127.0.0.1:5000").api_key


class TestDemoKey:
    def test_it_is_the_same_after_a_restart(self, prepared, uow, settings):
        """Each `up` has the key of the one before, and keeps it in a file that only its user may read."""
        first = prepared()
        assert [prepared() for _ in range(2)] == [first, first]
        assert len(accounts.list_keys(uow, DEMO_ID)) == 1
        assert stat.S_IMODE(settings.server.demo_key_file.stat().st_mode) == 0o600

    def test_once_revoked_there_is_another(self, prepared, uow):
        """A key that was revoked does not come back."""
        first = prepared()
        assert accounts.revoke_keys(uow, DEMO_ID, first) == 1
        second = prepared()
        assert second != first
        assert not accounts.is_valid_key(uow, DEMO_ID, first)
        assert prepared() == second

    @pytest.mark.parametrize("lost", ["", "ac_of-nobody", None])
    def test_without_its_file_there_is_another(self, prepared, uow, settings, lost):
        """If the file is lost, or holds no key of the demo account, the key that nobody knows is revoked."""
        first = prepared()
        settings.server.demo_key_file.unlink()
        if lost is not None:
            settings.server.demo_key_file.write_text(lost)
        second = prepared()
        assert accounts.is_valid_key(uow, DEMO_ID, second)
        assert not accounts.is_valid_key(uow, DEMO_ID, first)
