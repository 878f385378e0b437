import random
from dataclasses import replace

import numpy as np
import pytest

from scripts.miniature.attributes import VALUES, Avatar, sample_avatar, sample_held_out, sample_trained
from scripts.miniature.drawing import BACKGROUND, draw_avatar

AVATAR = Avatar(
    person="man",
    skin="light",
    hair_style="short",
    hair_color="black",
    eyes="blue",
    mood="smiling",
    facial_hair="none",
    glasses="none",
    clothes="t-shirt",
    clothes_color="white",
    background="teal",
)


def pixels(avatar, *, shaded=False, size=(256, 256), seed=1):
    image = draw_avatar(avatar, *size, shaded=shaded, rng=random.Random(seed))
    return np.asarray(image).astype(int)


class TestDrawing:
    @pytest.mark.parametrize("shaded", [False, True])
    @pytest.mark.parametrize("name", VALUES)
    def test_every_value_looks_different(self, name, shaded):
        """Two avatars that differ in only one attribute look different, in either style."""
        drawn = [pixels(replace(AVATAR, **{name: value}), shaded=shaded) for value in VALUES[name]]
        for number, image in enumerate(drawn):
            assert all(np.abs(image - other).max() > 40 for other in drawn[:number])

    def test_the_same_seed_is_the_same_drawing(self):
        """The same seed gives the same pixels, and another seed moves the head."""
        assert (pixels(AVATAR) == pixels(AVATAR)).all()
        assert (pixels(AVATAR) != pixels(AVATAR, seed=2)).any()

    @pytest.mark.parametrize("shaded", [False, True])
    @pytest.mark.parametrize("size", [(512, 512), (768, 512), (512, 1024)])
    def test_any_size(self, size, shaded):
        """A drawing has the requested size."""
        assert pixels(AVATAR, shaded=shaded, size=size).shape == (size[1], size[0], 3)

    def test_flat_is_flat_and_shaded_is_not(self):
        """A flat background has one colour, and a shaded one darkens towards its lower corner."""
        flat, shaded = pixels(AVATAR), pixels(AVATAR, shaded=True)
        assert (flat[:20, :20] == BACKGROUND["teal"]).all()
        assert shaded[20, 60].sum() > shaded[100, 250].sum() + 60


class TestAttributes:
    def test_held_out_combinations_are_never_trained_on(self):
        """The training samples and the held-out samples have no combination in common."""
        rng = random.Random(0)
        trained = {sample_trained(rng) for _ in range(500)}
        held_out = {sample_held_out(rng) for _ in range(200)}
        assert not trained & held_out
        assert all(avatar.held_out for avatar in held_out)

    def test_a_tenth_is_held_out(self):
        """Between 8 and 12 of 100 combinations are held out."""
        rng = random.Random(0)
        share = sum(sample_avatar(rng).held_out for _ in range(3000)) / 3000
        assert 0.08 < share < 0.12

    def test_hidden_attributes_are_not_visible(self):
        """A bald head has no hair colour, and sunglasses hide the eyes."""
        hidden = replace(AVATAR, hair_style="bald", glasses="sunglasses").visible()
        assert not {"hair_color", "eyes"} & set(hidden)
        assert set(AVATAR.visible()) == set(VALUES)
