from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import select

from catalog.tiers import Tier
from catalog.traits import Traits
from server.avatars.repository import Avatars
from server.credits.errors import InsufficientCredits
from server.credits.tables import Transfer
from server.errors import NotFound
from server.generations.deletion import delete_project
from server.uploads.service import Upload, check, upload
from tests.server.stored import stored_image

pytestmark = pytest.mark.usefixtures("books_that_balance")


def wanted(account, **changes):
    request = Upload(account.project_id, "Ada", Traits(), stored_image())
    return replace(request, **changes)


def avatars(uow, account):
    with uow.read() as tx:
        return Avatars(tx).of_project(account.project_id, 100)


class TestUpload:
    @pytest.mark.parametrize("tier", Tier)
    def test_the_avatar_and_its_price_are_one(self, uow, make_account, balance_of, tier):
        """An upload adds an avatar with its traits and takes 2 credits, from enterprise too."""
        account = make_account(tier, credits=5)
        request = wanted(account, traits=Traits(persona_name="Ada", persona_personality=("calm", "kind")))
        with uow.begin() as tx:
            uploaded = upload(tx, account.caller, request)
        assert (uploaded.credits, uploaded.balance, balance_of(account)) == (2, 3, 3)
        (avatar,) = avatars(uow, account)
        assert (avatar.id, avatar.name, avatar.source_type) == (uploaded.avatar.id, "Ada", "uploaded")
        assert (avatar.image_key, avatar.image_sha256) == (request.image.key, request.image.sha256)
        assert avatar.persona_personality == '["calm", "kind"]'
        assert uploaded.project.id == account.project_id

    def test_the_ledger_says_what_was_bought(self, uow, make_account):
        """The books have one hold of 2 for the avatar, and its capture."""
        account = make_account()
        with uow.begin() as tx:
            avatar = upload(tx, account.caller, wanted(account)).avatar
        with uow.read() as tx:
            rows = tx.session.execute(
                select(Transfer.kind, Transfer.credits, Transfer.reference_type, Transfer.description)
                .where(Transfer.reference_id == avatar.id)
                .order_by(Transfer.id)
            ).all()
        sold = (2, "avatar", "Avatar upload")
        assert [tuple(row) for row in rows] == [("hold", *sold), ("capture", *sold)]

    def test_too_few_credits_add_nothing(self, uow, make_account, balance_of):
        """With one credit there is no avatar, and the credit stays."""
        account = make_account(credits=1)
        with pytest.raises(InsufficientCredits) as error, uow.begin() as tx:
            upload(tx, account.caller, wanted(account))
        assert error.value == InsufficientCredits(required=2, available=1)
        assert (avatars(uow, account), balance_of(account)) == ([], 1)

    def test_another_users_project_takes_nothing(self, uow, make_account, balance_of):
        """An upload into another user's project is not found and costs nothing."""
        account, other = make_account(), make_account()
        with pytest.raises(NotFound), uow.begin() as tx:
            upload(tx, account.caller, wanted(other))
        assert balance_of(account) == 100

    def test_the_last_credits_are_spent_once(self, uow, make_account, at_once):
        """Of eight uploads at once with three credits, one is added."""
        account = make_account(credits=3)

        def add():
            with uow.begin() as tx:
                return upload(tx, account.caller, wanted(account)).balance

        outcomes = at_once(8, add)
        assert min(map(str, outcomes)) == "1"
        assert sum(isinstance(outcome, InsufficientCredits) for outcome in outcomes) == 7
        assert len(avatars(uow, account)) == 1


class TestDeletionAtTheSameTime:
    @pytest.fixture
    def delete_of(self, uow):
        """Delete an account's project."""
        return lambda account: delete_project(uow, lambda _: None, account.caller, account.project_id)

    def test_it_waits_for_an_upload_that_has_begun(self, uow, make_account, delete_of, beside):
        """A project that is deleted during an upload goes with the new avatar."""
        account = make_account()
        with uow.begin() as tx:
            upload(tx, account.caller, wanted(account))
            deletion = beside(partial(delete_of, account))
        deletion.result()
        assert avatars(uow, account) == []

    def test_an_upload_waits_for_a_deletion_that_has_begun(
        self, uow, make_account, balance_of, delete_of, beside, monkeypatch
    ):
        """An upload into a project that is being deleted finds none and takes nothing."""
        account = make_account()
        delete_all_of = Avatars.delete_all_of
        uploads = []

        def add():
            with uow.begin() as tx:
                return upload(tx, account.caller, wanted(account))

        def uploading(self, project_id):
            uploads.append(beside(add))
            return delete_all_of(self, project_id)

        monkeypatch.setattr(Avatars, "delete_all_of", uploading)
        delete_of(account)
        with pytest.raises(NotFound, match="Project"):
            uploads[0].result()
        assert (avatars(uow, account), balance_of(account)) == ([], 100)


class TestCheck:
    def test_what_would_be_refused_is_refused_before(self, uow, make_account):
        """A foreign project is not found, one credit is too few, two are enough."""
        rich, poor = make_account(credits=2), make_account(credits=1)
        check(uow, rich.caller, rich.project_id)
        with pytest.raises(NotFound):
            check(uow, rich.caller, poor.project_id)
        with pytest.raises(InsufficientCredits):
            check(uow, poor.caller, poor.project_id)
