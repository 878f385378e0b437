import threading
from datetime import timedelta

import pytest
from obstore.exceptions import GenericError
from sqlalchemy import update

from server.clock import now
from server.entries.repository import Entries
from server.generations.queue import PendingQueue
from server.generations.tables import Generation
from server.images.store import ImageStore
from server.scheduling.reaper import Reaper
from server.scheduling.tables import LeaderLock

pytestmark = pytest.mark.usefixtures("books_that_balance")


@pytest.fixture
def images(settings):
    """An empty image store."""
    return ImageStore(settings.server.images_dir)


@pytest.fixture
def reaper(uow, settings, images):
    """A reaper as every process runs it."""
    return Reaper(uow, images, settings)


def change(uow, generation_id, **values):
    """Change a generation as time or a crash would."""
    with uow.begin() as tx:
        tx.session.execute(update(Generation).where(Generation.id == generation_id).values(**values))


class TestReturnLost:
    def test_an_expired_lease(self, make_account, submit_one, claim, reaper, generation_of):
        """A generation whose lease has expired is pending again."""
        generation = submit_one(make_account())
        claim(lease_s=-1)
        assert reaper.return_lost() == 1
        assert generation_of(generation.id).status == "pending"

    def test_a_valid_lease(self, make_account, submit_one, claim, reaper):
        """A generation with a valid lease stays with its worker."""
        submit_one(make_account())
        claim(lease_s=60)
        assert reaper.return_lost() == 0


class TestFailHopeless:
    def test_poison(self, make_account, submit_one, claim, reaper, generation_of, balance_of):
        """A generation that lost its worker three times fails, and its hold is voided."""
        account = make_account(credits=20)
        generation = submit_one(account)
        for attempt in (1, 2, 3):
            assert reaper.fail_hopeless() == 0
            assert claim(lease_s=-1).attempt == attempt
            reaper.return_lost()
        assert reaper.fail_hopeless() == 1
        ended = generation_of(generation.id)
        assert (ended.status, ended.error_code) == ("failed", "INTERNAL_ERROR")
        assert balance_of(account) == 20

    def test_waited_too_long(
        self, make_account, submit_one, reaper, uow, generation_of, balance_of, settings
    ):
        """A generation that no worker claimed in time fails, and its hold is voided."""
        account = make_account(credits=20)
        late, fresh = submit_one(account), submit_one(account)
        change(uow, late.id, created_at=now() - timedelta(seconds=settings.server.queue_max_wait_s + 1))
        assert reaper.fail_hopeless() == 1
        assert generation_of(late.id).error_code == "GENERATION_TIMEOUT"
        assert generation_of(fresh.id).status == "pending"
        assert balance_of(account) == 12


class TestRounds:
    def test_one_process_at_a_time(self, uow, settings, images, make_account, submit_one, claim, at_once):
        """Of six reapers at the same moment one does the round."""
        submit_one(make_account())
        claim(lease_s=-1)
        patient = settings.changed(reaper_period_s=60)
        reapers = iter([Reaper(uow, images, patient) for _ in range(6)])
        at_once(6, lambda: next(reapers).round())
        with uow.read() as tx:
            holder = tx.session.get(LeaderLock, "queue").holder
            depth = PendingQueue(tx).depth()
        assert holder
        assert depth == 1

    def test_it_runs_until_it_is_stopped(self, uow, settings, images, make_account, submit_one, claim):
        """A running reaper returns lost work by itself and ends when it is stopped."""
        generation = submit_one(make_account())
        claim(lease_s=-1)
        quick = settings.changed(reaper_period_s=0.05)
        stopped, returned = threading.Event(), threading.Event()
        reaper = Reaper(uow, images, quick)
        thread = threading.Thread(target=reaper.run, args=(stopped,))
        thread.start()
        for _ in range(200):
            with uow.read() as tx:
                if tx.session.get(Generation, generation.id).losses:
                    returned.set()
                    break
            stopped.wait(0.02)
        stopped.set()
        thread.join(timeout=10)
        assert returned.is_set()
        assert not thread.is_alive()


class TestFullDisk:
    def test_it_is_no_fault(self, reaper, monkeypatch, log_lines):
        """A sweep that cannot write to a full disk is logged without a traceback, and rounds go on."""
        error = GenericError("Unable to write: No space left on device (os error 28)")
        stopped = threading.Event()

        def put(*_args, **_options):
            stopped.set()
            raise error

        monkeypatch.setattr("server.images.store.obstore.put", put)
        reaper.run(stopped)
        told = [line for line in log_lines() if line["event"].startswith("reaper.")]
        assert [(line["event"], "exception" in line) for line in told] == [("reaper.storage_full", False)]


class TestAddUp:
    def test_the_uses_of_an_entry(self, uow, make_account, submit_one, deliver, reaper):
        """What was delivered is added to the uses of its entry, once."""
        generation = submit_one(make_account())
        deliver(generation)
        for _ in range(2):
            reaper.add_up()
        with uow.read() as tx:
            uses = {entry.key: entry.total_usage for entry in Entries(tx).all()}
        assert uses[generation.entry_key] == 1
        assert sum(uses.values()) == 1

    def test_an_idle_server_writes_nothing(self, uow, reaper, monkeypatch):
        """While nothing is counted no transaction that writes is opened."""
        monkeypatch.setattr(uow, "begin", None)
        reaper.add_up()
