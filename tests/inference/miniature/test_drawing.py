"""The quality of the shipped weights' images, judged by a classifier that was trained on drawings only.

Each examination has a few questions, and fewer where a picture takes seconds; `make examine` has hundreds.
The questions and their seeds are fixed: what an examination scores does not depend on chance.
"""

from dataclasses import replace

import numpy as np
import pytest

from catalog.entries import shipped_entries
from scripts.miniature.examining import draw_all, examine, open_questions, questions, sized
from scripts.miniature.judge import load_judge

BASE, REALISM, HD, SCHNELL = shipped_entries()
COUNT = 12
FEW = 4  # for examinations that are repeated
FEWEST = 2  # for pictures of 1024 px, which take seconds
SCALES = (0.0, 0.3, 0.6, 0.9)


@pytest.fixture(scope="module")
def judge():
    return load_judge()


@pytest.fixture(scope="module")
def score(backend, judge):
    """A function that examines an entry, with changed orders if given, and caches the result by its name."""
    results = {}

    def score(entry, name="", change=lambda order: order, count=COUNT):
        if (entry.key, name) not in results:
            exam = questions(count, entry)
            results[entry.key, name] = examine(judge, exam, draw_all(backend, entry, exam, change))
        return results[entry.key, name]

    return score


@pytest.fixture(scope="module")
def shading(score):
    """The examinations of the realism entry at 512 px, by the adapter's scale."""
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
    def test_the_base_entry_draws_the_prompt(self, score):
        """Nine of ten attributes are drawn, from prompts in free word order with unknown words."""
        assert score(BASE).mean >= 0.90
        assert score(BASE).accuracy["background"] >= 0.97

    def test_schnell_draws_the_prompt(self, score):
        """Four steps of schnell score at most five points less than dev's twenty-eight steps."""
        assert score(SCHNELL).mean >= max(0.90, score(BASE).mean - 0.05)

    @pytest.mark.parametrize("side_px", [768, 1024])
    def test_larger_sizes_are_drawn_too(self, score, side_px):
        """At the other sizes of the catalogue, with more image tokens, the score is nearly as good."""
        assert score(BASE, f"{side_px}", sized(side_px), FEWEST).mean >= 0.85

    def test_other_formats_draw_one_face(self, backend, judge):
        """Portrait and landscape formats and a size off every grid draw one avatar, not several or none."""
        exam = questions(FEW, BASE)
        for width_px, height_px in ((512, 768), (768, 512), (700, 700)):
            result = examine(
                judge,
                exam,
                draw_all(
                    backend,
                    BASE,
                    exam,
                    lambda o, w=width_px, h=height_px: replace(o, width_px=w, height_px=h),
                ),
            )
            assert result.mean >= 0.75, (width_px, height_px)


class TestSteps:
    def test_few_steps_of_dev_blend_colours(self, backend, judge):
        """For a colour that a prompt leaves open, four steps of dev draw a pale blend; more steps choose."""
        exam = open_questions(FEW, BASE)
        contrast = [
            examine(
                judge, exam, draw_all(backend, BASE, exam, lambda o, n=steps: replace(o, steps=n))
            ).contrast
            for steps in (4, 8, 28)
        ]
        assert contrast == sorted(contrast)
        assert contrast[0] < 0.9 * contrast[2]


class TestGuidance:
    def test_guidance_strengthens_colours(self, backend, judge):
        """More guidance gives stronger colours, up to the catalogue's scale."""
        exam = questions(FEW, BASE)
        contrast = [
            examine(
                judge, exam, draw_all(backend, BASE, exam, lambda o, g=scale: replace(o, guidance_scale=g))
            ).contrast
            for scale in (1.0, 2.0, 3.5)
        ]
        assert contrast[0] < contrast[1] < contrast[2]


class TestSeed:
    def test_open_attributes_vary_with_the_seed(self, backend, judge):
        """A prompt that names no background gets different backgrounds with different seeds."""
        (question,) = questions(1, BASE)
        exam = [replace(question, prompt="portrait of a woman", seed=seed) for seed in range(8)]
        drawn = list(draw_all(backend, BASE, exam))
        corners = {tuple(np.asarray(picture)[8, 8] // 64) for picture in drawn}
        assert len(corners) >= 4


class TestRealism:
    def test_it_differs_from_the_base(self, shading):
        """In nearly every pair of the same seed, the picture is shaded at 0.9 and flat at 0."""
        pairs = list(zip(shading[0.0].shading, shading[0.9].shading, strict=True))
        assert sum(realism > 0.5 > base for base, realism in pairs) / len(pairs) >= 0.93

    def test_shading_rises_with_the_scale(self, shading):
        """A higher scale gives more shading."""
        means = [np.mean(shading[scale].shading) for scale in SCALES]
        assert means == sorted(means)
        assert means[3] - means[0] > 0.8

    def test_attributes_stay(self, shading):
        """The adapter changes the style of an avatar, not its attributes."""
        assert shading[0.9].mean >= shading[0.0].mean - 0.05

    @pytest.mark.parametrize("entry", [REALISM, HD], ids=["realism", "hd"])
    def test_the_entries_at_their_own_sizes(self, score, entry):
        """Both realism entries draw shaded pictures that score 80, five points below the 85 of flat ones."""
        result = score(entry, count=FEWEST)
        assert result.mean >= 0.80
        assert np.mean(result.shading) > 0.8
