import pytest

from catalog.presets import shipped_presets
from catalog.tiers import Tier
from server.avatars.repository import Avatars
from server.credits.errors import InsufficientCredits
from server.errors import NotFound
from server.generations import settlement
from server.generations.from_preset import accept_preset
from server.generations.submission import Limits
from server.presets import service
from tests.server.stored import provenance_of, stored_image

pytestmark = pytest.mark.usefixtures("books_that_balance")

PRESET = next(iter(shipped_presets().values()))


@pytest.fixture
def draw(uow):
    """Accept a generation of the first preset for an account."""

    def accepted(account, name=None, preset_id=PRESET.id, project_id=None):
        with uow.begin() as tx:
            return accept_preset(
                tx, account.caller, project_id or account.project_id, preset_id, name, Limits(max_depth=1000)
            )

    return accepted


class TestAcceptPreset:
    @pytest.mark.parametrize(
        ("tier", "entry_key", "side_px", "price"),
        [
            (Tier.FREE, "flux-dev-base", 512, 8),
            (Tier.BASIC, "flux-dev-realism", 768, 12),
            (Tier.PRO, "flux-dev-hd-realism", 1024, 15),
            (Tier.ENTERPRISE, "flux-dev-hd-realism", 1024, 0),
        ],
    )
    def test_hd_is_preferred(self, draw, make_account, balance_of, tier, entry_key, side_px, price):
        """Each tier gets the best entry within its reach, at the entry's size and price."""
        account = make_account(tier)
        submitted = draw(account)
        assert submitted.generation.entry_key == f"avatar-creator:{entry_key}"
        order = submitted.generation.order
        assert (order.width_px, order.height_px) == (side_px, side_px)
        assert (submitted.credits, submitted.balance) == (price, 100 - price)
        assert balance_of(account) == 100 - price

    def test_the_avatar_is_the_presets(self, draw, make_account, claim, uow):
        """The avatar has the preset's name, prompt and traits, and says that it comes from a preset."""
        account = make_account()
        generation = draw(account).generation
        assert (generation.prompt, generation.traits) == (PRESET.prompt, PRESET.traits)
        settlement.complete(uow, claim(), stored_image(), provenance_of(generation), {})
        with uow.read() as tx:
            (avatar,) = Avatars(tx).of_project(account.project_id, 100)
        assert (avatar.name, avatar.source_type) == (PRESET.name, "from_preset")
        assert (avatar.generation_prompt, avatar.gender) == (PRESET.prompt, PRESET.traits.gender)

    def test_a_name_of_ones_own(self, draw, make_account):
        """A name that the user gives becomes the avatar's."""
        assert draw(make_account(), "Mine").generation.avatar_name == "Mine"

    def test_the_use_is_counted(self, draw, make_account, uow):
        """Every generation of a preset raises its count, and no other's."""
        account = make_account()
        for _ in range(2):
            draw(account)
        uses = {found.preset.id: found.uses for found in service.list_all(uow)}
        assert uses == dict.fromkeys(shipped_presets(), 0) | {PRESET.id: 2}

    @pytest.mark.parametrize(
        ("credits_", "changes", "error"),
        [
            (7, {}, InsufficientCredits),
            (100, {"preset_id": "67b9c63b-0000-4212-8b43-cb572e813898"}, NotFound),
            (100, {"project_id": "none"}, NotFound),
        ],
    )
    def test_a_refusal_leaves_no_trace(
        self, draw, make_account, balance_of, uow, claim, credits_, changes, error
    ):
        """What is refused is not queued, not paid and not counted."""
        account = make_account(credits=credits_)
        with pytest.raises(error):
            draw(account, **changes)
        assert balance_of(account) == credits_
        assert claim() is None
        assert service.get(uow, PRESET.id).uses == 0
