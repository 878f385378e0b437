"""Plans for cards, with the parts of FLUX.1 counted on the meta device."""

import math
from dataclasses import replace

import pytest

from catalog.entries import shipped_entries
from inference.local.activations import measure_activations
from inference.local.cards import CARDS, CONTEXT_BYTES, UNUSABLE_SHARE, Card, Host
from inference.local.footprint import count_needs
from inference.local.parts import Place, Precision
from inference.local.plan import CardTooSmall, make_plan

GB = 1e9
HOST = Host(64_000_000_000)
ENTRIES = {entry.short_key: entry for entry in shipped_entries()}
BF16, FP8, INT8 = Precision
DEVICE, PINNED, DISK = Place

# Of each card: the gigabytes of weights on the device, T5's precision and whether it is streamed; then of
# each entry its precision, place, seconds of a swap, side of the largest image and largest batch.
GOLDEN = {
    "h100-80g": (60.4, BF16, False, [(BF16, DEVICE, 0, side, 4) for side in (1024, 1024, 1536, 1024)]),
    "a100-40g": (35.3, BF16, False, [(INT8, DEVICE, 0, side, 4) for side in (1024, 1024, 1536, 1024)]),
    "l40s-48g": (35.3, BF16, False, [(FP8, DEVICE, 0, side, 4) for side in (1024, 1024, 1536, 1024)]),
    "4090-24g": (
        18.7,
        FP8,
        False,
        [*((FP8, DEVICE, 0.54, side, 4) for side in (1024, 1024, 1536)), (FP8, PINNED, 0.48, 1024, 4)],
    ),
    "4080-16g": (
        13.8,
        FP8,
        True,
        [*((FP8, DEVICE, 0.54, side, 4) for side in (1024, 1024, 1152)), (FP8, PINNED, 0.48, 1024, 4)],
    ),
}


@pytest.fixture(scope="module")
def needs():
    return count_needs(shipped_entries())


@pytest.fixture(scope="module")
def activations():
    return measure_activations()


@pytest.fixture(scope="module")
def plan_for(needs, activations):
    """A function that plans for a card, by default beside a host of 64 GB, and by default for all entries."""

    def plan(card, host=HOST, needs=needs, **demands):
        card = CARDS[card] if isinstance(card, str) else card
        return make_plan(card, host, needs, activations, **demands)

    return plan


def of_t5(plan):
    return next(placed for placed in plan.parts if placed.part.name == "T5")


def card_with(usable_bytes):
    """Return a card of which so many bytes can be used."""
    memory_bytes = math.ceil((usable_bytes + CONTEXT_BYTES) / (1 - UNUSABLE_SHARE))
    return Card("Small", memory_bytes, (8, 9), 25e9)


class TestGolden:
    @pytest.mark.parametrize("name", GOLDEN)
    def test_card(self, plan_for, name):
        """Each card that the command knows has this plan."""
        plan = plan_for(name)
        rows = [
            (each.precision, each.place, round(each.swap_s, 2), max(each.largest_px), each.largest_batch)
            for each in plan.entries
        ]
        t5 = of_t5(plan)
        assert (round(plan.device_bytes / GB, 1), t5.precision, t5.streamed, rows) == GOLDEN[name]
        assert [each.entry.short_key for each in plan.entries] == list(ENTRIES)

    @pytest.mark.parametrize(
        ("name", "known_gb", "tolerance"),
        [
            ("h100-80g", 60.4, 0.01),
            ("l40s-48g", 35.2, 0.01),
            ("4090-24g", 18.5, 0.015),  # the known value has T5's embeddings in eight bits, too
            ("4080-16g", 13.7, 0.01),
        ],
    )
    def test_weights_have_the_known_size(self, plan_for, name, known_gb, tolerance):
        """The weights on the device are the known gigabytes of each kind of card."""
        assert plan_for(name).device_bytes / GB == pytest.approx(known_gb, rel=tolerance)


class TestSharing:
    def test_shared_parts_lie_once(self, plan_for, needs):
        """T5, CLIP and the VAE are one part each for dev and schnell; the realism entries share a variant."""
        plan = plan_for("h100-80g")
        digests = [placed.part.digest for placed in plan.parts]
        assert len(digests) == len(set(digests)) == 6
        assert {need.t5.digest for need in needs} <= set(digests)

    def test_another_t5_lies_beside(self, plan_for, needs):
        """A base model whose T5 has other content has a T5 of its own on the device."""
        *dev, schnell = needs
        other = replace(schnell, t5=replace(schnell.t5, digest="another"))
        more_bytes = (
            plan_for("h100-80g", needs=(*dev, other)).device_bytes - plan_for("h100-80g").device_bytes
        )
        assert more_bytes == schnell.t5.bf16_bytes


class TestPlaces:
    def test_a_swap_goes_one_way(self, plan_for):
        """On 24 GB both base models return from pinned memory, so that none is copied back to the host."""
        swapped = [placed for placed in plan_for("4090-24g").parts if placed.reloaded_from]
        assert [placed.place for placed in swapped] == [DEVICE, DEVICE, PINNED]
        assert {placed.reloaded_from for placed in swapped} == {PINNED}

    def test_a_small_host_pins_what_it_can(self, plan_for):
        """On a host of 32 GB the streamed T5 is pinned first, then dev; schnell is read from the disk."""
        plan = plan_for("4080-16g", Host(32_000_000_000))
        base, *_, schnell = plan.entries
        assert (of_t5(plan).place, base.place, schnell.place) == (PINNED, DEVICE, DISK)
        assert base.swap_s == pytest.approx(0.54, abs=0.01)
        assert schnell.swap_s == pytest.approx(23.78 / 2, rel=0.01)

    def test_streaming_costs_every_prompt(self, plan_for):
        """T5's 4.9 GB in fp8 take 0.2 s a prompt from pinned memory, and 4.8 s in bf16 from the disk."""
        assert plan_for("4090-24g").stream_s == 0
        assert plan_for("4080-16g").stream_s == pytest.approx(0.20, abs=0.01)
        assert plan_for("4080-16g", Host(8_000_000_000)).stream_s == pytest.approx(4.8, abs=0.05)

    def test_a_single_model_has_no_turns(self, plan_for, needs):
        """With schnell alone, 24 GB hold all of it beside T5 in bf16, and nothing is swapped."""
        plan = plan_for("4090-24g", needs=needs[-1:])
        assert [(each.place, each.swap_s) for each in plan.entries] == [(DEVICE, 0)]
        assert of_t5(plan).precision == BF16

    def test_every_part_has_a_reason(self, plan_for):
        """Each part's place is explained in a sentence that fits its place."""
        reasons = {placed.part.name.rpartition("/")[2]: placed.why for placed in plan_for("4080-16g").parts}
        assert "its layers are copied one by one" in reasons["T5"]
        assert "it fits as it is" in reasons["CLIP"]
        assert "it waits in pinned memory" in reasons["FLUX.1-schnell"]

    def test_the_plan_says_what_was_too_large(self, plan_for):
        """The reason names the preferred arrangements with what they would have needed."""
        why = plan_for("l40s-48g").why
        assert why.startswith("transformers in eight bits, 38.9 GB with the largest images; 46.1 GB can be")
        assert why.endswith("Too large: everything in bf16 64.0 GB.")


class TestLimits:
    @pytest.mark.parametrize("name", GOLDEN)
    def test_the_limit_holds_what_stays(self, plan_for, name):
        """Base models that stay fit the limit together; of those that take turns, each fits alone."""
        plan = plan_for(name)
        sizes = {each.entry.model_id: each.model_bytes for each in plan.entries}.values()
        takes_turns = plan.entries[0].reloaded_from is not None
        assert max(sizes) <= plan.models_limit_bytes
        assert (sum(sizes) > plan.models_limit_bytes) is takes_turns
        assert takes_turns is (name in {"4090-24g", "4080-16g"})

    def test_the_largest_image_fits_and_the_next_does_not(self, plan_for, activations):
        """On 16 GB the largest image's activations fit beside the weights; 16 px more do not."""
        plan = plan_for("4080-16g")
        hd = plan.entries[2]
        room_bytes = plan.card.usable_bytes - plan.device_bytes
        side = hd.largest_px[0]
        assert activations.peak_bytes(side**2) <= room_bytes < activations.peak_bytes((side + 16) ** 2)

    def test_batches_are_bounded_by_memory(self, plan_for):
        """With 0.95 GB beside the weights, images of 768 px are drawn, at most three in a batch."""
        plan = plan_for(card_with(plan_for("4080-16g").device_bytes + 950_000_000))
        rows = [(each.largest_px, each.largest_batch) for each in plan.entries[:3]]
        assert rows == [((784, 784), 4), ((784, 784), 3), ((784, 784), 3)]

    def test_batches_by_size(self, plan_for):
        """Images of a usual size have the entry's batches; what is larger than all of them is drawn alone."""
        plan, dev = plan_for("h100-80g"), ENTRIES["flux-dev-base"].model_id
        assert [plan.largest_batch(dev, side**2) for side in (512, 1024, 1536)] == [4, 4, 1]
        assert plan.largest_batch("unknown/model", 512**2) == 1

    def test_the_peak_of_an_entry(self, plan_for, activations):
        """Where all stays, an entry's peak is all weights and what its usual image takes; in turns, less."""
        plan = plan_for("h100-80g")
        for planned in plan.entries:
            image_bytes = activations.peak_bytes(planned.entry.width_px * planned.entry.height_px)
            assert planned.peak_bytes == plan.device_bytes + image_bytes
        for planned in plan_for("4090-24g").entries:
            assert planned.model_bytes < planned.peak_bytes <= CARDS["4090-24g"].usable_bytes


class TestDemands:
    def test_eight_bits_where_16_would_fit(self, plan_for):
        """Who insists on eight bits gets them on a card with room for 16."""
        assert plan_for("h100-80g", eight_bit=True).precisions == (FP8, BF16)

    def test_16_bits_in_turns(self, plan_for):
        """Who insists on 16 bits on a card with too little for all has one base model there at a time."""
        plan = plan_for("l40s-48g", eight_bit=False)
        assert plan.precisions == (BF16, BF16)
        assert plan.arrangement.in_turns
        assert {planned.place for planned in plan.entries} == {DEVICE, PINNED}

    def test_16_bits_on_a_small_card(self, plan_for):
        """A card that holds no base model in 16 bits is too small for who insists on them."""
        with pytest.raises(CardTooSmall):
            plan_for("4090-24g", eight_bit=False)


class TestTooSmall:
    def test_a_sentence(self, plan_for):
        """A card of 12 GB is refused with a sentence that says what would be needed."""
        sentence = (
            r"^Small is too small for FLUX.1: an image of 512x512 needs 14.5 GB, and 11.2 GB can be used$"
        )
        with pytest.raises(CardTooSmall, match=sentence):
            plan_for(Card("Small", 12_000_000_000, (8, 9), 25e9))

    def test_the_named_memory_suffices(self, plan_for):
        """With the memory that the refusal names, all entries draw small images; with two bytes less, none.

        Two layers of T5 need more than an image of 512 px does, so that somewhat larger ones fit as well.
        """
        with pytest.raises(CardTooSmall) as refused:
            plan_for(card_with(12_000_000_000))
        needed = refused.value.needed_bytes
        assert {each.largest_px for each in plan_for(card_with(needed)).entries[:3]} == {(624, 624)}
        with pytest.raises(CardTooSmall):
            plan_for(card_with(needed - 2))
