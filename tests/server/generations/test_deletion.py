from functools import partial

import pytest
from sqlalchemy import func, select

from server.avatars.repository import Avatars
from server.avatars.tables import Avatar, AvatarUse
from server.clock import now
from server.credits.tables import Account, Transfer
from server.errors import NotFound
from server.events.repository import Events
from server.generations import settlement
from server.generations.claims import LeaseLost
from server.generations.deletion import delete_project
from server.generations.submission import GenerationRequest, Limits, accept
from server.generations.tables import Generation
from server.images.store import ImageStore, Variant
from server.projects.repository import Projects
from server.projects.tables import Project
from server.scheduling.reaper import Reaper
from tests.server.stored import add_avatar, add_drawn_avatar, provenance_of, stored_image

pytestmark = pytest.mark.usefixtures("books_that_balance")


class CrashError(BaseException):
    """The end of the process: no code of the program survives it."""


def crash(*_):
    """End the process."""
    raise CrashError


@pytest.fixture
def images(settings):
    """An empty image store."""
    return ImageStore(settings.server.images_dir)


@pytest.fixture
def delete_of(uow, images):
    """Delete an account's project."""

    def delete(account):
        delete_project(uow, images.discard, account.caller, account.project_id)

    return delete


@pytest.fixture
def sweep(uow, images, settings):
    """Move the images aside that no avatar owns, however young they are; the folder is the database's."""
    Reaper(uow, images, settings).sweep_images()
    hasty = settings.changed(orphan_image_age_s=-60)
    return Reaper(uow, images, hasty).sweep_images


@pytest.fixture
def rows(uow):
    """Count the rows of a table that belong to a project."""

    def count(table, account):
        with uow.read() as tx:
            return tx.session.scalar(select(func.count()).where(table.project_id == account.project_id))

    return count


@pytest.fixture
def credits_of(uow):
    """Read a user's available and held credits."""

    def read(account):
        with uow.read() as tx:
            row = tx.session.get(Account, account.user_id)
            return row.available, row.held

    return read


def stored(images):
    """Return the keys of all stored images."""
    return {key for batch in images.older_than(now().replace(year=9999)) for key in batch}


class TestDeleteProject:
    def test_all_that_is_in_it(self, make_account, submit_one, claim, uow, images, delete_of, rows):
        """Project, avatars, uses, generations and files are gone; another project keeps all of its own."""
        account, other = make_account(), make_account()
        delivered = submit_one(account)
        settlement.complete(uow, claim(), stored_image(), provenance_of(delivered), {})
        mine, theirs = add_drawn_avatar(uow, images, account), add_drawn_avatar(uow, images, other)
        with uow.begin() as tx:
            tx.session.add(AvatarUse(avatar_id=mine.id, app_id="app", app_name="App", action="used"))
        submit_one(other)
        delete_of(account)
        with uow.read() as tx:
            assert tx.session.get(Project, account.project_id) is None
            assert tx.session.scalar(select(func.count()).select_from(AvatarUse)) == 0
        assert (rows(Avatar, account), rows(Generation, account)) == (0, 0)
        assert (rows(Avatar, other), rows(Generation, other)) == (1, 1)
        assert stored(images) == {theirs.image_key}

    def test_what_has_not_ended_is_given_back(
        self, make_account, submit_one, claim, uow, delete_of, credits_of
    ):
        """Pending and running generations are cancelled and their holds voided; a delivered one is paid."""
        account = make_account(credits=24)
        delivered = submit_one(account)
        settlement.complete(uow, claim(), stored_image(), provenance_of(delivered), {})
        running = submit_one(account)
        claim()
        waiting = submit_one(account)
        assert credits_of(account) == (0, 16)
        delete_of(account)
        assert credits_of(account) == (16, 0)
        with uow.read() as tx:
            kinds = [[event.kind for event in Events(tx).of(one.id)] for one in (delivered, running, waiting)]
            kept = tx.session.scalar(select(func.count()).where(Transfer.user_id == account.user_id))
        assert kinds == [["queued", "completed"], ["queued", "failed"], ["queued", "failed"]]
        assert kept == 7  # the grant, three holds, a capture, two voids

    def test_what_is_not_the_callers(self, make_account, uow, images, delete_of, rows):
        """Another user's project is not found and stays; a project cannot be deleted twice."""
        owner, other = make_account(), make_account()
        add_avatar(uow, owner)
        with pytest.raises(NotFound, match="Project"):
            delete_project(uow, images.discard, other.caller, owner.project_id)
        assert rows(Avatar, owner) == 1
        delete_of(owner)
        with pytest.raises(NotFound, match="Project"):
            delete_of(owner)

    def test_several_deletions_at_once(self, make_account, submit_one, delete_of, at_once, credits_of):
        """Of six deletions at the same moment one succeeds, and each hold is given back once."""
        account = make_account(credits=24)
        for _ in range(3):
            submit_one(account)
        outcomes = at_once(6, partial(delete_of, account))
        assert (outcomes.count(None), outcomes.count(NotFound("Project"))) == (1, 5)
        assert credits_of(account) == (24, 0)


class TestCrash:
    def test_before_the_commit(
        self, make_account, submit_one, uow, images, delete_of, rows, credits_of, monkeypatch
    ):
        """A process that dies before the commit has changed nothing."""
        account = make_account(credits=20)
        submit_one(account)
        avatar = add_drawn_avatar(uow, images, account)
        monkeypatch.setattr(Projects, "delete", crash)
        with pytest.raises(CrashError):
            delete_of(account)
        assert (rows(Avatar, account), rows(Generation, account)) == (1, 1)
        assert credits_of(account) == (12, 8)
        assert images.read(avatar.image_key, Variant.FULL) == b"png"

    def test_after_the_commit(self, make_account, uow, images, sweep):
        """The files that are left by a process that dies after the commit are swept."""
        account = make_account()
        avatar = add_drawn_avatar(uow, images, account)
        with pytest.raises(CrashError):
            delete_project(uow, crash, account.caller, account.project_id)
        assert stored(images) == {avatar.image_key}
        assert sweep() == 1
        assert stored(images) == set()


class TestSubmissionAtTheSameTime:
    def test_it_came_first(self, make_account, uow, delete_of, beside, rows, credits_of):
        """A deletion waits for a submission that has begun, then cancels it and gives its hold back."""
        account = make_account(credits=20)
        request = GenerationRequest(account.project_id, "Ada", "portrait of a person")
        with uow.begin() as tx:
            accept(tx, account.caller, request, Limits(max_depth=1000))
            deletion = beside(partial(delete_of, account))
        deletion.result()
        assert rows(Generation, account) == 0
        assert credits_of(account) == (20, 0)

    def test_it_came_second(self, make_account, submit_one, delete_of, beside, rows, credits_of, monkeypatch):
        """A submission waits for a deletion that has begun, then finds no project and holds nothing."""
        account = make_account(credits=20)
        delete_all_of = Avatars.delete_all_of
        submissions = []

        def submitting(avatars, project_id):
            submissions.append(beside(partial(submit_one, account)))
            return delete_all_of(avatars, project_id)

        monkeypatch.setattr(Avatars, "delete_all_of", submitting)
        delete_of(account)
        with pytest.raises(NotFound, match="Project"):
            submissions[0].result()
        assert rows(Generation, account) == 0
        assert credits_of(account) == (20, 0)

    def test_many(self, make_account, submit_one, delete_of, at_once, rows, credits_of):
        """What of eight submissions comes before the deletion is given back, and the rest find nothing."""
        for _ in range(10):
            account = make_account(credits=200)
            acts = iter(
                [partial(submit_one, account)] * 4
                + [partial(delete_of, account)]
                + [partial(submit_one, account)] * 4
            )
            outcomes = at_once(9, lambda acts=acts: next(acts)())
            assert all(isinstance(outcome, Generation | NotFound | None) for outcome in outcomes)
            assert rows(Generation, account) == 0
            assert credits_of(account) == (200, 0)


class TestSettlementAtTheSameTime:
    def test_it_came_first(
        self, make_account, submit_one, claim, uow, delete_of, beside, rows, credits_of, monkeypatch
    ):
        """A deletion waits for a delivery that has begun, and deletes its avatar; neither waits for ever."""
        account = make_account(credits=20)
        generation = submit_one(account)
        held = claim()
        add = Avatars.add
        deletions = []

        def deleting(avatars, avatar):
            deletions.append(beside(partial(delete_of, account)))
            add(avatars, avatar)

        monkeypatch.setattr(Avatars, "add", deleting)
        settlement.complete(uow, held, stored_image(), provenance_of(generation), {})
        deletions[0].result()
        assert (rows(Avatar, account), rows(Generation, account)) == (0, 0)
        assert credits_of(account) == (12, 0)

    def test_it_came_second(
        self, make_account, submit_one, claim, uow, delete_of, beside, rows, credits_of, monkeypatch
    ):
        """A delivery that waits for a deletion finds its lease lost, and the hold is given back."""
        account = make_account(credits=20)
        generation = submit_one(account)
        held = claim()
        delete_all_of = Avatars.delete_all_of
        deliveries = []

        def delivering(avatars, project_id):
            complete = partial(settlement.complete, uow, held, stored_image(), provenance_of(generation), {})
            deliveries.append(beside(complete))
            return delete_all_of(avatars, project_id)

        monkeypatch.setattr(Avatars, "delete_all_of", delivering)
        delete_of(account)
        with pytest.raises(LeaseLost):
            deliveries[0].result()
        assert rows(Avatar, account) == 0
        assert credits_of(account) == (20, 0)
