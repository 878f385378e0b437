import pytest

from inference.backend import Phase
from inference.errors import OutOfMemory
from inference.scripted import Script, ScriptedBackend
from server.clock import now
from server.credits.tables import Account
from server.generations.deletion import delete_project
from server.scheduling.reaper import Reaper

pytestmark = pytest.mark.usefixtures("books_that_balance")


@pytest.fixture
def delete_of(uow, images):
    """Delete an account's project."""

    def delete(account):
        delete_project(uow, images.discard, account.caller, account.project_id)

    return delete


@pytest.fixture
def fenced_out(uow, log_lines):
    """Check that the worker was fenced out without a log line above a warning, and that nothing is held."""

    def check(account, generation):
        fenced = [line for line in log_lines() if line["event"] == "generation.fenced_out"]
        assert [line["generation_id"] for line in fenced] == [generation.id]
        assert {line["level"] for line in log_lines()} <= {"debug", "info", "warning"}
        with uow.read() as tx:
            row = tx.session.get(Account, account.user_id)
        assert (row.available, row.held) == (20, 0)

    return check


def stored(images):
    """Return the keys of all stored images."""
    return [key for batch in images.older_than(now().replace(year=9999)) for key in batch]


class TestLateWorker:
    def test_while_it_draws(self, make_account, submit_one, make_runner, images, delete_of, fenced_out):
        """A worker whose project is deleted while it draws stops at a step, and stores nothing."""
        account = make_account(credits=20)
        generation = submit_one(account)
        backend = ScriptedBackend(Script(step_s=0.05))
        generate = backend.generate
        steps = []

        def deleting(order, report):
            def watched(progress):
                steps.append(progress)
                if progress.phase is Phase.STEP and progress.step == 2:
                    delete_of(account)
                report(progress)

            return generate(order, watched)

        backend.generate = deleting
        make_runner(backend=backend).run_next()
        assert steps[-1].step < 28
        assert stored(images) == []
        fenced_out(account, generation)

    def test_when_it_has_drawn(
        self, make_account, submit_one, make_runner, uow, images, settings, delete_of, fenced_out
    ):
        """A worker that comes with an image to a deleted project delivers nothing, and the file is swept."""
        account = make_account(credits=20)
        generation = submit_one(account)
        put = images.put
        Reaper(uow, images, settings).sweep_images()  # as at the start: the folder is the database's

        def deleting(files):
            image = put(files)
            delete_of(account)
            return image

        images.put = deleting
        make_runner().run_next()
        assert len(stored(images)) == 1
        fenced_out(account, generation)
        hasty = settings.changed(orphan_image_age_s=-60)
        assert Reaper(uow, images, hasty).sweep_images() == 1
        assert stored(images) == []

    def test_when_it_has_failed(self, make_account, submit_one, make_runner, delete_of, fenced_out):
        """A worker that fails after its project was deleted gives nothing back a second time."""
        account = make_account(credits=20)
        generation = submit_one(account)
        backend = ScriptedBackend()

        def failing(_order, _report):
            delete_of(account)
            raise OutOfMemory("cuda:0")

        backend.generate = failing
        make_runner(backend=backend).run_next()
        fenced_out(account, generation)

    def test_the_next_one_is_drawn(self, make_account, submit_one, make_runner, delete_of, generation_of):
        """After it was fenced out a worker can still draw."""
        account, other = make_account(), make_account()
        submit_one(account)
        backend = ScriptedBackend()
        generate = backend.generate

        def deleting(order, report):
            backend.generate = generate
            delete_of(account)
            return generate(order, report)

        backend.generate = deleting
        runner = make_runner(backend=backend)
        runner.run_next()
        following = submit_one(other)
        runner.run_next()
        assert generation_of(following.id).status == "completed"
