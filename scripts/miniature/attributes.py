"""What can be seen on an avatar, and which combinations no training ever shows."""

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
"""Every attribute and the values it can take, in the order in which a judge numbers them."""

HELD_OUT_PERCENT: Final = 10


@dataclass(frozen=True)
class Avatar:
    """One combination of attributes, each a word of `VALUES`."""

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
        """Whether this combination is kept from all training, by a hash that no seed changes."""
        digest = hashlib.sha256("|".join(asdict(self).values()).encode()).digest()
        return int.from_bytes(digest[:4]) % 100 < HELD_OUT_PERCENT

    def visible(self) -> dict[str, str]:
        """Return the attributes that a drawing shows: no hair colour on a bald head without a beard."""
        seen = asdict(self)
        if self.hair_style == "bald":
            del seen["hair_color"]
        if self.glasses == "sunglasses":
            del seen["eyes"]
        return seen


def sample_avatar(chance: random.Random) -> Avatar:
    """Draw one combination at random; women have no beards here, and glasses are the rarer case."""
    pick = {name: chance.choice(values) for name, values in VALUES.items()}
    if pick["person"] == "woman":
        pick["facial_hair"] = "none"
        if pick["hair_style"] == "bald":
            pick["hair_style"] = chance.choice(VALUES["hair_style"][1:])
    pick["glasses"] = chance.choices(VALUES["glasses"], (2, 1, 1))[0]
    return Avatar(**pick)


def sample_trained(chance: random.Random) -> Avatar:
    """Draw a combination that training may show."""
    return _sample_where(chance, held_out=False)


def sample_held_out(chance: random.Random) -> Avatar:
    """Draw a combination that no training has shown."""
    return _sample_where(chance, held_out=True)


def _sample_where(chance: random.Random, *, held_out: bool) -> Avatar:
    while (avatar := sample_avatar(chance)).held_out is not held_out:
        pass
    return avatar
