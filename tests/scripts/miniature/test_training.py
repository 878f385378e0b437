import hashlib
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from inference.local.adapters import read_adapter
from inference.local.latents import pack
from inference.local.variants import fuse, variant_of
from inference.miniature import architecture
from inference.miniature.vocabulary import t5_tokenizer
from scripts.miniature.attributes import sample_held_out
from scripts.miniature.base import _open_gates
from scripts.miniature.code import Code, near_face
from scripts.miniature.distilling import GUIDANCE, without_guidance
from scripts.miniature.drawing import draw_avatar
from scripts.miniature.flow import Batch, Bucket, Flow, sample_batch, sample_times, weighted_mean
from scripts.miniature.pictures import DrawingSet, draw
from scripts.miniature.reading import _initialise_attention
from scripts.miniature.realism import SCALE, save_realism, train_realism
from scripts.miniature.shipping import HASHES, read_all_cases, ship
from scripts.miniature.training import schedule, train


@pytest.fixture(scope="module")
def flow():
    """An untrained flow with open gates, so that every input has an effect."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = Flow(architecture.transformer(guidance_embeds=True))
        _open_gates(flow.transformer)
        nn.init.normal_(flow.transformer.proj_out.weight, std=0.1)
    return flow.eval()


@pytest.fixture(scope="module")
def bucket():
    """Random latents of four drawings of 512 px."""
    rng = random.Random(0)
    latents = torch.randn(4, 16, 16, 16, generator=torch.Generator().manual_seed(0))
    return Bucket([sample_held_out(rng) for _ in range(4)], pack(latents), 8, 8, 1.0)


def velocity(flow, guidance):
    """Return the velocity that a flow predicts for fixed inputs."""
    latents = torch.randn(2, 64, 64, generator=torch.Generator().manual_seed(1))
    strength = None if guidance is None else torch.full((2,), guidance)
    with torch.no_grad():
        text = flow.read(["a man with red hair", ""])
        return flow.velocity(latents, torch.tensor([0.9, 0.2]), text, (8, 8), strength)


class TestLoop:
    def _run(self, folder, steps, model=None):
        torch.manual_seed(0)
        model = model or nn.Linear(3, 1)

        def loss(step):
            rows = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
            return (model(rows) - rows.sum(1, keepdim=True)).square().mean()

        return train("line", folder, model, loss, steps=steps, rate=0.1, decay=0.9)

    def test_it_learns(self, tmp_path):
        """The loop fits a line, and the log has ten lines with the loss."""
        learnt = self._run(tmp_path, 200)
        assert torch.allclose(learnt.weight, torch.ones(1, 3), atol=0.02)
        assert len((tmp_path / "line.log").read_text().splitlines()) == 10

    def test_a_finished_stage_is_not_run_again(self, tmp_path):
        """A finished stage returns the weights of its checkpoint."""
        learnt = self._run(tmp_path, 200)
        again = self._run(tmp_path, 200, nn.Linear(3, 1))
        assert torch.equal(learnt.weight, again.weight)

    def test_an_interrupted_run_resumes(self, tmp_path, monkeypatch):
        """A run interrupted between checkpoints ends bit for bit with the weights of an uninterrupted one."""
        monkeypatch.setattr("scripts.miniature.training.SAVE_EVERY_STEPS", 30)
        model = nn.Linear(3, 1)
        steps = iter(range(50))

        def interrupt(parameters, _):
            if next(steps, None) is None:
                raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr("scripts.miniature.training.torch.nn.utils.clip_grad_norm_", interrupt)
            with pytest.raises(KeyboardInterrupt):
                self._run(tmp_path / "interrupted", 100)
        monkeypatch.setattr("scripts.miniature.training.torch.nn.utils.clip_grad_norm_", lambda *_: None)
        resumed = self._run(tmp_path / "interrupted", 100, model)
        whole = self._run(tmp_path / "whole", 100)
        assert torch.equal(resumed.weight, whole.weight)

    def test_the_rate_rises_and_falls(self):
        """The rate rises from nearly zero, and ends at a fiftieth of its maximum."""
        rates = [schedule(step, 1000) for step in range(1000)]
        assert rates[0] < 0.05
        assert max(rates) > 0.98
        assert rates[-1] == pytest.approx(0.02, abs=0.001)


class TestCode:
    def test_latents_hold_the_squares(self):
        """An identity code keeps the pixels of the squares; latents have the transformer's shape."""
        drawing = draw(DrawingSet(1, 512, 768, shaded=False, seed=0), 0)
        identity = Code(torch.zeros(3072), torch.eye(3072)[:16])
        latents = identity.encode(drawing.pixels)
        assert latents.shape == (16, 24, 16)
        assert latents[0, 0, 0] == drawing.pixels[0, 0, 0] / 127.5 - 1
        assert latents[1, 1, 2] == drawing.pixels[0, 32, 65] / 127.5 - 1


class TestNearness:
    @pytest.mark.parametrize(("rows", "columns"), [(8, 8), (16, 16), (12, 8), (8, 16)])
    def test_it_matches_the_position_of_the_head(self, rows, columns):
        """At every size and format the weight is high in the cells that a mood changes: brows and mouth."""
        avatar = sample_held_out(random.Random(1))
        sad, smiling = (
            np.asarray(
                draw_avatar(
                    replace(avatar, mood=mood, facial_hair="none"),
                    64 * columns,
                    64 * rows,
                    shaded=False,
                    rng=random.Random(2),
                )
            ).astype(float)
            for mood in ("sad", "smiling")
        )
        cells = torch.from_numpy(np.abs(sad - smiling).mean(2)).view(rows, 64, columns, 64).mean((1, 3))
        near = near_face(rows, columns)
        assert near.shape == (rows, columns)
        assert (near * cells).sum() / cells.sum() > 0.4
        assert near.mean() < 0.2

    def test_errors_of_the_face_count_more(self):
        """An error weighs more in the face than at the border; a uniform error keeps its value."""
        border, face = torch.zeros(1, 64, 4), torch.zeros(1, 64, 4)
        border[:, 0] = face[:, 3 * 8 + 3] = 1
        assert weighted_mean(face, 8, 8) > 2 * weighted_mean(border, 8, 8) > 0
        assert weighted_mean(torch.full((2, 64, 4), 3.0), 8, 8) == pytest.approx(3.0)


class TestReading:
    def test_a_word_attends_to_its_neighbour_first(self):
        """Before training, T5's vector of a word depends more on its neighbour than on a distant word."""
        torch.manual_seed(0)
        t5 = architecture.t5().eval()
        _initialise_attention(t5)
        plain, near, far = (
            t5(t5_tokenizer()(text, return_tensors="pt").input_ids)[0]
            for text in (
                "red glasses and a smile and long hair and a red background",
                "red glasses and a smile and long hair and a blue background",
                "blue glasses and a smile and long hair and a red background",
            )
        )
        background = -2  # before the closing token
        moved = [(other - plain)[0, background].norm() for other in (near, far)]
        assert moved[0] > 2 * moved[1] > 0


class TestBatch:
    def test_sizes_cost_the_same(self, bucket):
        """A batch of larger latents has fewer latents."""
        large = replace(bucket, packed=torch.zeros(4, 256, 64), rows=16, columns=16)
        counts = [len(sample_batch([each], random.Random(0)).captions) for each in (bucket, large)]
        assert counts == [16, 6]


class TestTimes:
    def test_large_pictures_get_more_noise(self):
        """Neighbouring pixels are redundant, so training at 1024 px uses more noise than at 512 px."""
        means = []
        for side in (8, 16):
            batch = Batch(torch.zeros(4000, 1, 64), [], side, side)
            times = sample_times(batch, torch.Generator().manual_seed(0))
            assert ((times > 0) & (times < 1)).all()
            means.append(times.mean())
        assert means[1] > means[0] + 0.05


class TestSchnell:
    def test_it_starts_as_dev(self, flow):
        """Without the guidance embedding, the transformer predicts as dev does at the catalogue's scale."""
        student = Flow(without_guidance(flow.transformer))
        student.clip, student.t5 = flow.clip, flow.t5
        assert torch.allclose(velocity(student, None), velocity(flow, GUIDANCE), atol=1e-5)
        assert not torch.allclose(velocity(student, None), velocity(flow, 1.0), atol=1e-3)


class TestRealism:
    def test_the_file_holds_the_trained_adapter(self, flow, bucket, tmp_path):
        """The file passes the product's check; fused at 0.9 it predicts as after training."""
        tensors = train_realism(tmp_path, flow, [bucket], steps=3)
        save_realism(tensors, tmp_path / "lora.safetensors")
        base = Flow(architecture.transformer(guidance_embeds=True))
        base.load_state_dict(flow.state_dict())
        before = velocity(base, GUIDANCE)
        checked = read_adapter(tmp_path / "lora.safetensors", "trained", base.transformer)
        assert len(checked.modules) == 32
        base.transformer = variant_of(base.transformer, fuse(base.transformer, checked, SCALE))
        trained = self._as_trained(tmp_path, flow)
        assert not torch.allclose(velocity(base, GUIDANCE), before, atol=1e-4)
        assert torch.allclose(velocity(base, GUIDANCE), velocity(trained, GUIDANCE), atol=2e-3)

    def _as_trained(self, folder, flow):
        """Return the flow with peft's adapter after training, from its checkpoint."""
        from copy import deepcopy  # noqa: PLC0415 - the other tests do not need it

        from peft import LoraConfig  # noqa: PLC0415

        from inference.local.adapter_keys import parts_of  # noqa: PLC0415

        trained = deepcopy(flow)
        names = [name for part in parts_of(trained.transformer) for name in part.modules]
        trained.transformer.add_adapter(LoraConfig(r=16, lora_alpha=SCALE * 16, target_modules=names))
        state = torch.load(folder / "realism.checkpoint.pt", weights_only=True)["averaged"]
        trained.load_state_dict(state)
        return trained.eval()


class TestShipping:
    def test_capitals_read_as_lower_case(self, flow):
        """After read_all_cases, every form of a word has the embedding of its lower case."""
        copied = Flow(architecture.transformer(guidance_embeds=True))
        copied.load_state_dict(flow.state_dict())
        read_all_cases(copied)
        lower, title, upper = t5_tokenizer()("glasses Glasses GLASSES").input_ids[:3]
        table = copied.t5.shared.weight
        assert torch.equal(table[lower], table[title])
        assert torch.equal(table[lower], table[upper])
        assert torch.equal(table[lower], flow.t5.shared.weight[lower])

    def test_shipped_files_are_readable_by_all(self, flow, tmp_path):
        """Every file is bf16, is listed with its hash, and is readable by every user."""
        tensors = {key: torch.ones(shape) for key, shape in architecture.lora_shapes().items()}
        schnell = Flow(without_guidance(flow.transformer))
        ship(tmp_path, architecture.autoencoder(), flow, schnell, tensors)
        named = dict(reversed(line.split()) for line in (tmp_path / HASHES).read_text().splitlines())
        files = sorted(tmp_path.glob("*.safetensors"))
        assert sorted(named) == [file.name for file in files]
        for file in files:
            assert named[file.name] == hashlib.sha256(file.read_bytes()).hexdigest()
            assert file.stat().st_mode & 0o777 == 0o644
            assert {tensor.dtype for tensor in load_file(file).values()} == {torch.bfloat16}
