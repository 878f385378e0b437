"""The visible attributes of an avatar, and the combinations that are held out of all training."""

import hashlib
import random
from dataclasses import asdict, dataclass
from typing import Final

VALUES: Final[dict[str, tuple[str, ...]]] = {
    "person": ("woman", "man"),
    "skin": ("light", "tan", "dark"),
    "hair_style": ("bald", "short", "bob", "long", "curly", "bun"),
    "hair_color": ("black", "brown", "blonde", "red", "gray", "blue", "pink"),
    "eyes": ("brown", "blue", "green"),
    "mood": ("smiling", "serious", "sad", "surprised"),
    "facial_hair": ("none", "beard", "mustache"),
    "glasses": ("none", "glasses", "sunglasses"),
    "clothes": ("t-shirt", "suit", "hoodie", "sweater"),
    "clothes_color": ("black", "white", "gray", "red", "blue", "green", "yellow", "purple"),
    "background": ("white", "gray", "blue", "green", "red", "yellow", "orange", "purple", "pink", "teal"),
}
"""Every attribute and its values. The judge's class numbers follow this order."""

HELD_OUT_PERCENT: Final = 10


@dataclass(frozen=True)
class Avatar:
    """One combination of attributes, each a word from `VALUES`."""

    person: str
    skin: str
    hair_style: str
    hair_color: str
    eyes: str
    mood: str
    facial_hair: str
    glasses: str
    clothes: str
    clothes_color: str
    background: str

    @property
    def held_out(self) -> bool:
        """Whether this combination is held out of all training. A hash decides, independent of any seed."""
        digest = hashlib.sha256("|".join(asdict(self).values()).encode()).digest()
        return int.from_bytes(digest[:4]) % 100 < HELD_OUT_PERCENT

    def visible(self) -> dict[str, str]:
        """Return the visible attributes: no hair colour of a bald head, no eyes behind sunglasses."""
        visible = asdict(self)
        if self.hair_style == "bald":
            del visible["hair_color"]
        if self.glasses == "sunglasses":
            del visible["eyes"]
        return visible


def sample_avatar(rng: random.Random) -> Avatar:
    """Sample one combination; women have no beards here, and half of the avatars wear no glasses."""
    pick = {name: rng.choice(values) for name, values in VALUES.items()}
    if pick["person"] == "woman":
        pick["facial_hair"] = "none"
        if pick["hair_style"] == "bald":
            pick["hair_style"] = rng.choice(VALUES["hair_style"][1:])
    pick["glasses"] = rng.choices(VALUES["glasses"], (2, 1, 1))[0]
    return Avatar(**pick)


def sample_trained(rng: random.Random) -> Avatar:
    """Sample a combination that training may use."""
    return _sample_where(rng, held_out=False)


def sample_held_out(rng: random.Random) -> Avatar:
    """Sample a combination that is held out of training."""
    return _sample_where(rng, held_out=True)


def _sample_where(rng: random.Random, *, held_out: bool) -> Avatar:
    while (avatar := sample_avatar(rng)).held_out is not held_out:
        pass
    return avatar
