"""A worker with room for one pipeline, on the test's clock: the fair queue decides, and nothing is drawn."""

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from catalog.tiers import Tier
from server.generations.lanes import Head, Lane
from server.generations.turns import Standing, turn_of
from server.scheduling.fair_queue import in_turn, next_of
from server.scheduling.swap_budget import MOST_S_PAST, MOST_SWAPS_PAST, SHARE, SwapBudget

WEIGHTS = {Tier.FREE: 1, Tier.BASIC: 2, Tier.PRO: 4, Tier.ENTERPRISE: 8}
SWAP_S = 30.0
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Image:
    """What a user waits for."""

    user: str
    lane: Lane
    created_at: datetime
    turn: float


@dataclass
class Card:
    """The queue in memory and the worker that draws it; both choose by the program's own functions."""

    drawing_s: float
    moment_s: float = 0.0
    resident: str = "dev"
    waiting: list[Image] = field(default_factory=list)
    last: dict[str, float] = field(default_factory=dict)
    drawn: list[Image] = field(default_factory=list)
    swapped_s: float = 0.0
    passed: dict[str, tuple[float, int]] = field(default_factory=dict)
    longest: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self):
        self.budget = SwapBudget(lambda: self.moment_s)

    @property
    def now(self):
        """The moment as the queue sees it."""
        return START + timedelta(seconds=self.moment_s)

    def submit(self, user, model, tier=Tier.FREE):
        """Let a user submit an image now; return it."""
        lane = Lane(model, failed_over=False, tier=tier)
        own = [one.turn for one in self.waiting if one.user == user and one.lane.model_id == model]
        front = [one.turn for one in self.waiting if one.lane.model_id == model]
        of_model = [one.turn for one in self.drawn[-1:] if one.lane.model_id == model]
        standing = Standing(
            max(of_model, default=None),
            min(front, default=None),
            max((one.turn for one in self.drawn[-1:]), default=None),
            max(own, default=None),
            self.last.get(user),
        )
        image = Image(user, lane, self.now, turn_of(standing, self.now.timestamp()))
        self.last[user] = image.turn
        self.waiting.append(image)
        return image

    def heads(self):
        """Return the heads of the lanes, each with its image."""
        firsts = {}
        for image in sorted(self.waiting, key=lambda one: (one.turn, one.created_at)):
            firsts.setdefault(image.lane, image)
        return {Head(lane, one.turn, one.created_at): one for lane, one in firsts.items()}

    def draw_next(self):
        """Draw the next image and return it; swap before it if it needs that."""
        heads = self.heads()
        head = next_of(heads, {self.resident}, self.now, WEIGHTS, self.budget)
        first, model = in_turn(heads, self.now, WEIGHTS), head.lane.model_id
        waiting = {other.lane.model_id for other in heads}
        self.budget.record_claim(model, first.lane.model_id, waiting, {self.resident})
        self._record_passing(model, first.lane.model_id)
        if model != self.resident:
            self.resident = model
            self.moment_s += SWAP_S
            self.swapped_s += SWAP_S
            self.budget.record_load(SWAP_S)
        self.moment_s += self.drawing_s
        self.waiting.remove(heads[head])
        self.drawn.append(heads[head])
        return heads[head]

    def _record_passing(self, model, first):
        """Keep, by itself and not by the budget's memory, how long the turn of a model was passed over."""
        if model != self.resident:
            self.passed = {other: (since, swaps + 1) for other, (since, swaps) in self.passed.items()}
        since, swaps = self.passed.pop(model, (self.moment_s, 1))
        self.longest.append((self.moment_s - since, swaps - (model != self.resident)))
        if first != model:
            self.passed.setdefault(first, (self.moment_s, 0))


class TestSwaps:
    @pytest.mark.parametrize("drawing_s", [1.0, 5.0, 30.0])
    @pytest.mark.parametrize("users", [1, 20, 200])
    @pytest.mark.parametrize("models", [("dev", "schnell"), ("dev", "schnell", "klein")])
    def test_two_hundred_mixed_images(self, drawing_s, users, models):
        """With swaps of 30 s at least 85 % of the time is drawing, and nobody is passed over for too long."""
        card, mixed = Card(drawing_s), random.Random(7)
        for number in range(200):
            card.submit(f"user-{number % users}", mixed.choice(models))
        while card.waiting:
            card.draw_next()
        assert len(card.drawn) == 200
        inevitable_s = SWAP_S * (len(models) - 1)
        if inevitable_s <= 0.15 * card.moment_s:
            assert 1 - card.swapped_s / card.moment_s >= 0.85
        else:  # one swap for each other model is too much for so few seconds of drawing: there are no more
            assert card.swapped_s == inevitable_s
        longest_s = (len(models) - 1) * (SWAP_S / SHARE + SWAP_S + drawing_s)
        for seconds, swaps in card.longest:
            assert seconds <= longest_s
            assert seconds <= MOST_S_PAST or swaps <= MOST_SWAPS_PAST

    def test_no_fourth_swap_passes_over_a_model(self):
        """Where newcomers of other models are always first in turn, the third swap to them is the last."""
        card = Card(drawing_s=200.0)
        card.moment_s = 600.0
        late = card.submit("late", "late")
        late.turn += 10_000  # as of a user who has waited in many rounds
        card.passed["late"] = (card.moment_s, 0)
        card.budget.record_claim("dev", "late", {"dev", "late"}, {"dev"})
        models, swaps = ("schnell", "klein"), 0
        for number in range(40):
            card.submit(f"newcomer-{number}", models[number % 2])
            card.submit(f"other-{number}", models[(number + 1) % 2])
            before = card.resident
            drawn = card.draw_next()
            if drawn is late:
                break
            swaps += card.resident != before
        assert late in card.drawn
        assert swaps == MOST_SWAPS_PAST


class TestFairness:
    def test_a_flood_delays_another_by_one_image(self):
        """Whenever who comes alone comes, at most one image of a flood is begun before his."""
        mixed = random.Random(7)
        card = Card(drawing_s=5.0)
        for _ in range(20):
            card.submit("flood", "dev", Tier.ENTERPRISE)
        for number in range(15):
            for _ in range(mixed.randrange(3)):
                card.draw_next()
            wanted = card.submit(f"other-{number % 4}", "dev", mixed.choice(list(Tier)))
            drawn_before = len(card.drawn)
            while wanted in card.waiting:
                card.draw_next()
            others = [image.user for image in card.drawn[drawn_before:-1]]
            assert others.count("flood") <= 1

    def test_the_wait_of_a_tier_is_by_its_weight(self):
        """While twenty wait and one comes for each that is drawn, twice the weight waits half as long."""
        mixed = random.Random(7)
        card, waits_s = Card(drawing_s=5.0), {tier: [] for tier in Tier}
        for number in range(2000):
            card.submit(f"user-{number}", "dev", mixed.choice(list(Tier)))
            if number >= 20:
                image = card.draw_next()
                waits_s[image.lane.tier].append(
                    (card.now - image.created_at).total_seconds() - card.drawing_s
                )
        means_s = [sum(waits_s[tier]) / len(waits_s[tier]) for tier in Tier]
        for longer_s, shorter_s in pairwise(means_s):
            assert longer_s / shorter_s == pytest.approx(2, rel=0.1)
