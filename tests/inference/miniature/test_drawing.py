"""What the shipped weights draw, judged by a classifier that has seen drawings only.

A few questions an examination here, fewer where a picture takes seconds; `make examine` asks hundreds.
"""

from dataclasses import replace

import numpy as np
import pytest

from catalog.entries import shipped_entries
from scripts.miniature.examining import draw_all, examine, open_questions, questions, sized
from scripts.miniature.judge import load_judge

BASE, REALISM, HD, SCHNELL = shipped_entries()
COUNT = 16
FEW = 6  # where a picture takes seconds, or is one of many
SCALES = (0.0, 0.3, 0.6, 0.9)


@pytest.fixture(scope="module")
def judge():
    return load_judge()


@pytest.fixture(scope="module")
def score(backend, judge):
    """Examine an entry, its orders changed if need be; the same examination is held once."""
    held = {}

    def hold(entry, name="", change=lambda order: order, count=COUNT):
        if (entry.key, name) not in held:
            asked = questions(count, entry)
            held[entry.key, name] = examine(judge, asked, draw_all(backend, entry, asked, change))
        return held[entry.key, name]

    return hold


@pytest.fixture(scope="module")
def shading(score):
    """How shaded each picture is, by the adapter's scale, all else the same."""
    return {
        scale: score(
            REALISM,
            f"scale {scale}",
            lambda order, scale=scale: replace(
                sized(512)(order), adapter=replace(order.adapter, scale=scale)
            ),
            count=2 * FEW if scale in {SCALES[0], SCALES[-1]} else FEW,
        )
        for scale in SCALES
    }


class TestPrompt:
    def test_the_base_entry_draws_what_is_asked(self, score):
        """Of the attributes of prompts in free order with unknown words, nine of ten are drawn."""
        assert score(BASE).mean >= 0.90
        assert score(BASE).accuracy["background"] >= 0.97

    def test_schnell_draws_what_is_asked(self, score):
        """Four steps of schnell draw it too, within five points of dev's twenty-eight."""
        assert score(SCHNELL).mean >= max(0.90, score(BASE).mean - 0.05)

    @pytest.mark.parametrize("side_px", [768, 1024])
    def test_larger_is_drawn_too(self, score, side_px):
        """At the other sizes of the catalogue, where the grid is larger, it is drawn nearly as well."""
        assert score(BASE, f"{side_px}", sized(side_px), FEW).mean >= 0.85

    def test_sizes_between_draw_one_face(self, backend, judge):
        """A portrait format and a size off every grid draw the same avatar, not several or none."""
        asked = questions(4, BASE)
        for width_px, height_px in ((512, 768), (768, 512), (700, 700)):
            found = examine(
                judge,
                asked,
                draw_all(
                    backend,
                    BASE,
                    asked,
                    lambda o, w=width_px, h=height_px: replace(o, width_px=w, height_px=h),
                ),
            )
            assert found.mean >= 0.75, (width_px, height_px)


class TestSteps:
    def test_few_steps_of_dev_decide_little(self, backend, judge):
        """What a prompt leaves open, four steps of dev blend into pale colours; more steps choose."""
        asked = open_questions(FEW, BASE)
        contrast = [
            examine(
                judge, asked, draw_all(backend, BASE, asked, lambda o, n=steps: replace(o, steps=n))
            ).contrast
            for steps in (4, 8, 28)
        ]
        assert contrast == sorted(contrast)
        assert contrast[0] < 0.9 * contrast[2]


class TestGuidance:
    def test_guidance_strengthens_what_is_asked(self, backend, judge):
        """More guidance makes a picture's colours stronger, up to the catalogue's scale."""
        asked = questions(FEW, BASE)
        contrast = [
            examine(
                judge, asked, draw_all(backend, BASE, asked, lambda o, g=scale: replace(o, guidance_scale=g))
            ).contrast
            for scale in (1.0, 2.0, 3.5)
        ]
        assert contrast[0] < contrast[1] < contrast[2]


class TestSeed:
    def test_what_is_not_asked_varies(self, backend, judge):
        """One prompt that names no background gets several, by its seeds."""
        (question,) = questions(1, BASE)
        asked = [replace(question, prompt="portrait of a woman", seed=seed) for seed in range(12)]
        drawn = list(draw_all(backend, BASE, asked))
        corners = {tuple(np.asarray(picture)[8, 8] // 64) for picture in drawn}
        assert len(corners) >= 4


class TestRealism:
    def test_it_is_told_from_the_base(self, shading):
        """At 0.9 the picture is shaded and at 0 it is flat, in nearly every pair of the same seed."""
        pairs = list(zip(shading[0.0].shading, shading[0.9].shading, strict=True))
        assert sum(realism > 0.5 > base for base, realism in pairs) / len(pairs) >= 0.93

    def test_it_rises_with_the_scale(self, shading):
        """The higher the scale, the more shaded."""
        means = [np.mean(shading[scale].shading) for scale in SCALES]
        assert means == sorted(means)
        assert means[3] - means[0] > 0.8

    def test_attributes_stay(self, shading):
        """The adapter changes how an avatar is painted, not who is painted."""
        assert shading[0.9].mean >= shading[0.0].mean - 0.05

    @pytest.mark.parametrize("entry", [REALISM, HD], ids=["realism", "hd"])
    def test_the_entries_at_their_own_sizes(self, score, entry):
        """Both realism entries draw shaded what they are asked, within five points of the 85 of flat ones."""
        found = score(entry, count=FEW)
        assert found.mean >= 0.80
        assert np.mean(found.shading) > 0.8
