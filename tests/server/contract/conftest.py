"""Fixtures for tests of what a tenant's resources show to others."""

import pytest

from catalog.tiers import Tier
from server.accounts.repository import Users
from server.avatars.repository import Avatars, AvatarUses
from server.avatars.tables import AvatarUse
from server.clock import now
from server.generations import settlement
from server.generations.previews import Previews
from server.images.store import ImageStore
from tests.server.contract.observing import Direct, everything
from tests.server.contract.tenancy import Tenant
from tests.server.signing import SESSION_SECRET, bearer, signed
from tests.server.stored import add_drawn_avatar, avatar_of, provenance_of, stored_image

MANY = 20  # so that to read them all takes time


@pytest.fixture
def api(open_api):
    """The application, with the secret of the platform's session tokens."""
    with open_api(auth_jwt_secret=SESSION_SECRET) as opened:
        yield opened


@pytest.fixture
def direct(api):
    """The application without a client's threads."""
    return Direct(api.client)


@pytest.fixture
def make_tenant(uow, settings, make_account, submit_one, claim):
    """Make users who have each thing."""
    images = ImageStore(settings.server.images_dir)
    use = {"app_id": "pose", "app_name": "Poses", "action": "view"}

    def claimed(generation):
        """Claim until this generation is claimed: what users made before have left waits longer."""
        while (held := claim()).generation_id != generation.id:
            pass
        return held

    def make():
        account = make_account(Tier.PRO, credits=1000)
        completed, processing = submit_one(account), submit_one(account)
        settlement.complete(uow, claimed(completed), stored_image(), provenance_of(completed), {})
        claimed(processing)
        pending = submit_one(account)
        avatar = add_drawn_avatar(uow, images, account)
        with uow.begin() as tx:
            Previews(tx).want(processing.id)
            Previews(tx).keep(processing.id, 3, b"a picture")
            key_id = Users(tx).mint_key(account.user_id, "spare").stored.id
            for _ in range(MANY):
                Avatars(tx).add(avatar_of(account))
                AvatarUses(tx).add(AvatarUse(avatar_id=avatar.id, created_at=now(), **use))
        ids = {
            "project_id": [account.project_id],
            "avatar_id": [avatar.id],
            "generation_id": [completed.id, pending.id, processing.id],
            "key_id": [key_id],
        }
        return Tenant(account, ids)

    return make


@pytest.fixture
def tenant(make_tenant):
    """The user whom others try to find out about."""
    return make_tenant()


@pytest.fixture
def stranger(make_account):
    """The account of another user, who could pay."""
    return make_account(Tier.PRO, credits=1000)


@pytest.fixture
def refused_tokens(uow, make_account, tenant):
    """Headers with tokens that are refused, by their kind, and the code of the refusal."""
    deleted, revoked, whose = make_account(), tenant.account.token, tenant.account.user_id
    with uow.begin() as tx:
        users = Users(tx)
        users.revoke_keys(whose, label="test")
        expired = users.mint_key(whose, "expired", now()).token
        users.delete(users.find(deleted.user_id))
        left = users.mint_key(deleted.user_id, "not revoked").token
    old, foreign = {"iat": 1, "exp": 2}, {"secret": "s" * 32}
    return {
        "no token": ({}, "AUTHENTICATION_ERROR"),
        "another scheme": ({"Authorization": f"Basic {revoked}"}, "AUTHENTICATION_ERROR"),
        "garbage": (bearer("garbage"), "TOKEN_INVALID"),
        "revoked key": (bearer(revoked), "TOKEN_INVALID"),
        "expired key": (bearer(expired), "TOKEN_EXPIRED"),
        "key of a deleted user": (bearer(left), "TOKEN_INVALID"),
        "JWT with a foreign secret": (bearer(signed(whose, **foreign)), "TOKEN_INVALID"),
        "expired JWT": (bearer(signed(whose, **old)), "TOKEN_EXPIRED"),
        "expired JWT with a foreign secret": (bearer(signed(whose, **old, **foreign)), "TOKEN_INVALID"),
        "JWT of a deleted user": (bearer(signed(deleted.user_id)), "TOKEN_INVALID"),
    }


@pytest.fixture
def unchanged(api, uow, settings):
    """Afterwards every row, every file and every wake-up is as it was when the test asked for this."""

    def state():
        return everything(uow, settings.server.images_dir), api.wakeups.waiting()

    before = []
    yield lambda: before.append(state())
    assert before == [state()]
