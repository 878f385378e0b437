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
    """Fresh drawings of combinations that the judge never saw, with its verdicts."""
    chance = random.Random(f"fresh-{request.param}")
    avatars = [sample_held_out(chance) for _ in range(DRAWINGS)]
    sizes = [chance.choice((512, 512, 768)) for _ in avatars]
    pictures = [
        draw_avatar(avatar, size, size, shaded=request.param, chance=chance)
        for avatar, size in zip(avatars, sizes, strict=True)
    ]
    return request.param, avatars, judge_pictures(judge, pictures)


class TestJudge:
    def test_it_reads_fresh_drawings(self, judged):
        """Of fresh drawings the judge reads every attribute right in at least 98 of 100."""
        _, avatars, verdicts = judged
        for name in VALUES:
            found = [
                verdict.values[name] == avatar.visible()[name]
                for avatar, verdict in zip(avatars, verdicts, strict=True)
                if name in avatar.visible()
            ]
            assert sum(found) / len(found) >= 0.98, name

    def test_it_tells_flat_from_shaded(self, judged):
        """It tells the two styles apart in at least 98 of 100 drawings."""
        shaded, _, verdicts = judged
        right = [(verdict.shading > 0.5) is shaded for verdict in verdicts]
        assert sum(right) / len(right) >= 0.98
