import random

import pytest

from scripts.miniature.attributes import VALUES, sample_held_out
from scripts.miniature.drawing import draw_avatar
from scripts.miniature.judge import judge_pictures, load_judge

DRAWINGS = 150


@pytest.fixture(scope="module")
def judge():
    return load_judge()


@pytest.fixture(scope="module", params=[False, True], ids=["flat", "shaded"])
def judged(request, judge):
    """New drawings of held-out combinations, with the judge's verdicts."""
    rng = random.Random(f"fresh-{request.param}")
    avatars = [sample_held_out(rng) for _ in range(DRAWINGS)]
    sizes = [rng.choice((512, 512, 768)) for _ in avatars]
    pictures = [
        draw_avatar(avatar, size, size, shaded=request.param, rng=rng)
        for avatar, size in zip(avatars, sizes, strict=True)
    ]
    return request.param, avatars, judge_pictures(judge, pictures)


class TestJudge:
    def test_it_reads_fresh_drawings(self, judged):
        """The judge reads every attribute correctly in at least 98 of 100 new drawings."""
        _, avatars, verdicts = judged
        for name in VALUES:
            correct = [
                verdict.values[name] == avatar.visible()[name]
                for avatar, verdict in zip(avatars, verdicts, strict=True)
                if name in avatar.visible()
            ]
            assert sum(correct) / len(correct) >= 0.98, name

    def test_it_distinguishes_flat_from_shaded(self, judged):
        """The judge classifies the style correctly in at least 98 of 100 drawings."""
        shaded, _, verdicts = judged
        correct = [(verdict.shading > 0.5) is shaded for verdict in verdicts]
        assert sum(correct) / len(correct) >= 0.98
