import shutil
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import httpx2
import pytest
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from catalog.entries import shipped_entries
from inference.errors import WeightsMissing
from inference.local.backend import LocalConfig
from inference.local.devices import Offload
from inference.weights import locations as weights
from inference.weights.locations import (
    ADAPTER_FILE,
    DEV,
    SCHNELL,
    FullWeights,
    MiniatureWeights,
    PipelineWeights,
)

TOKEN = "hf_secretsecretsecret"  # noqa: S105 - not a real token

ENTRIES = {entry.key.removeprefix("avatar-creator:"): entry for entry in shipped_entries()}


def ignore_progress(_):
    """Do nothing."""


def hub_error(kind, status=401):
    """Return an error of the hub as huggingface_hub raises it."""
    request = httpx2.Request("GET", "https://huggingface.co/api/models/x")
    return kind("the hub's own words", response=httpx2.Response(status, request=request))


def wrapped(cause):
    """Return an error of diffusers that wraps the hub's error."""
    error = OSError("Cannot load model: not fully cached locally, and an error occurred")
    error.__cause__ = cause
    return error


class TestSources:
    def test_the_miniature_serves_every_id(self, miniature):
        """Ids with schnell map to schnell's miniature, other ids to dev's, all adapters to the only one."""
        source = MiniatureWeights(miniature)
        folders = {
            model_id: Path(source.pipeline(model_id, "any").source).relative_to(miniature).as_posix()
            for model_id in (DEV, SCHNELL, "someone/finetune", "someone/FLUX.1-Schnell-tuned")
        }
        assert folders == {
            DEV: DEV,
            SCHNELL: SCHNELL,
            "someone/finetune": DEV,
            "someone/FLUX.1-Schnell-tuned": SCHNELL,
        }
        adapter = replace(ENTRIES["flux-dev-realism"].adapter, model_id="someone/lora")
        assert source.adapter_file(adapter) == miniature / ADAPTER_FILE

    def test_models_dir_comes_first(self, miniature, realism):
        """Weights in MODELS_DIR are used from there, without a request to the hub."""
        source = FullWeights(miniature, TOKEN)
        assert source.pipeline(DEV, "abc") == PipelineWeights(str(miniature / DEV))
        assert source.adapter_file(realism) == miniature / ADAPTER_FILE

    def test_the_hub_comes_second(self, tmp_path):
        """Weights that MODELS_DIR lacks come from the hub, by id, revision and token."""
        assert FullWeights(tmp_path, TOKEN).pipeline(DEV, "abc") == PipelineWeights(DEV, "abc", TOKEN)
        assert FullWeights(None).pipeline(DEV, None) == PipelineWeights(DEV)

    def test_no_token_is_shown(self, tmp_path):
        """No representation that a log could print contains the token."""
        config = LocalConfig("full", hf_token=TOKEN)
        source = FullWeights(tmp_path, TOKEN)
        assert TOKEN not in f"{config!r} {source!r} {source.pipeline(DEV, None)!r}"


class TestMissing:
    @pytest.mark.parametrize(
        ("error", "sentence"),
        [
            (wrapped(hub_error(GatedRepoError, 403)), "gated: accept its licence .* HUGGINGFACE_API_KEY"),
            (wrapped(hub_error(RepositoryNotFoundError)), "HUGGINGFACE_API_KEY is missing or wrong"),
            (wrapped(hub_error(RevisionNotFoundError, 404)), "no such revision"),
            (wrapped(httpx2.ConnectError("no route")), r"hub cannot be reached \(ConnectError\): fetch it"),
            (httpx2.ReadTimeout("slow"), r"cannot be reached \(ReadTimeout\)"),
            (LocalEntryNotFoundError("nothing here"), "not on this machine and the hub cannot be reached"),
            (OfflineModeIsEnabled("offline"), "HF_HUB_OFFLINE is set"),
            (
                OSError("no file named model.safetensors\nin a folder"),
                r"OSError: no file named model.safetensors$",
            ),
        ],
    )
    def test_every_cause_has_a_message(self, make_backend, order, monkeypatch, error, sentence):
        """The error names the model, the cause and the remedy; it never contains the token."""

        def fail(*_, **__):
            raise error

        monkeypatch.setattr(FluxPipeline, "download", fail)
        backend = make_backend(profile="full", models_dir=None, hf_token=TOKEN)
        with pytest.raises(WeightsMissing, match=sentence) as caught:
            backend.generate(order, ignore_progress)
        assert str(caught.value).startswith(f"The weights of {DEV} could not be loaded: ")
        assert caught.value.code == "MODEL_LOADING"
        assert TOKEN not in str(caught.value)

    def test_a_missing_adapter_does_not_affect_the_base(
        self, make_backend, adapter_dir, order, realism, monkeypatch, float32
    ):
        """An order with a missing adapter fails and names it; an order of the base still succeeds."""

        def fail(*_, **__):
            raise LocalEntryNotFoundError("nothing here")

        monkeypatch.setattr(weights, "hf_hub_download", fail)
        backend = make_backend(profile="full", models_dir=adapter_dir.parents[1])
        with pytest.raises(WeightsMissing, match="XLabs-AI/flux-RealismLora"):
            backend.generate(replace(order, adapter=realism), ignore_progress)
        assert backend.generate(order, ignore_progress).image.size == (512, 512)

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda model: (model / "transformer" / "diffusion_pytorch_model.safetensors").unlink(),
            lambda model: (model / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(
                b"\x08\0\0\0\0\0\0\0 junk"
            ),
            lambda model: (model / "model_index.json").unlink(),
            lambda model: (model / "model_index.json").write_text("{"),
            lambda model: shutil.rmtree(model / "text_encoder_2"),
        ],
    )
    def test_a_damaged_folder_is_missing_weights(self, make_backend, tmp_path, miniature, order, spoil):
        """A folder that lacks a file, or has a damaged one, is reported as missing weights."""
        shutil.copytree(miniature / DEV, tmp_path / DEV)
        spoil(tmp_path / DEV)
        backend = make_backend(profile="full", models_dir=tmp_path)
        with pytest.raises(WeightsMissing, match=DEV):
            backend.generate(order, ignore_progress)
        assert backend.resident == frozenset()


class Recorder:
    """Replaces the hub: it records the requests and returns the miniature."""

    def __init__(self, miniature, monkeypatch):
        self.downloaded, self.pipelines, self.adapters, self.placed, self.drawn = [], [], [], [], []
        load, forward = FluxPipeline.from_pretrained, FluxTransformer2DModel.forward

        def download(source, **arguments):
            self.downloaded.append((source, arguments))
            return str(miniature / source)

        def from_pretrained(folder, *, dtype, use_safetensors, **parts):
            self.pipelines.append((folder.relative_to(miniature).as_posix(), dtype, use_safetensors))
            pipeline = load(folder, dtype=torch.float32, **parts)  # see the fixture float32
            pipeline.tokenizer_2.model_max_length = 512  # FLUX.1's limit, so that the entry's limit applies
            return pipeline

        def hf_hub_download(*place, **arguments):
            self.adapters.append((place, arguments))
            return str(miniature / ADAPTER_FILE)

        def record(transformer, **arguments):
            self.drawn.append((transformer, arguments))
            return forward(transformer, **arguments)

        monkeypatch.setattr(FluxPipeline, "download", download)
        monkeypatch.setattr(FluxPipeline, "from_pretrained", from_pretrained)
        monkeypatch.setattr(weights, "hf_hub_download", hf_hub_download)
        monkeypatch.setattr(FluxTransformer2DModel, "forward", record)
        for name in ("enable_model_cpu_offload", "enable_sequential_cpu_offload", "to"):
            monkeypatch.setattr(FluxPipeline, name, self._placing(name))

    def _placing(self, name):
        return lambda _, *args, **kwargs: self.placed.append((name, *args, *kwargs.values()))


class TestFullProfile:
    @pytest.fixture
    def hub(self, miniature, monkeypatch):
        """The replaced hub."""
        return Recorder(miniature, monkeypatch)

    def test_dev_and_realism_share_one_pipeline(self, hub, make_backend, order_of):
        """Base and realism load dev once, at its revision and in bf16, and the adapter once."""
        backend = make_backend(profile="full", models_dir=None, hf_token=TOKEN)
        for name in ("flux-dev-base", "flux-dev-realism", "flux-dev-base", "flux-dev-hd-realism"):
            entry = ENTRIES[name]
            backend.generate(
                order_of(entry, width_px=512, height_px=512, max_text_tokens=32), ignore_progress
            )
        revision = ENTRIES["flux-dev-base"].revision
        assert hub.downloaded == [
            (DEV, {"revision": revision, "token": TOKEN, "use_safetensors": True}),
        ]
        assert hub.pipelines == [(DEV, torch.bfloat16, True)]
        assert hub.adapters == [
            (("XLabs-AI/flux-RealismLora", "lora.safetensors"), {"revision": None, "token": TOKEN}),
        ]
        base, realism = dict.fromkeys(transformer for transformer, _ in hub.drawn)
        runs = [
            (drawn, len(list(run))) for drawn, run in groupby(transformer for transformer, _ in hub.drawn)
        ]
        assert runs == [(base, 28), (realism, 30), (base, 28), (realism, 35)]
        assert {float(arguments["guidance"]) for _, arguments in hub.drawn} == {3.5}
        assert backend.resident == {DEV}

    def test_schnell_draws_as_it_was_trained(self, hub, make_backend, order_of):
        """Schnell is loaded at its revision and draws in four steps, without guidance, from 256 tokens."""
        entry = ENTRIES["flux-schnell-fast"]
        make_backend(profile="full", models_dir=None).generate(order_of(entry), ignore_progress)
        assert hub.downloaded == [
            (SCHNELL, {"revision": entry.revision, "token": None, "use_safetensors": True})
        ]
        assert len(hub.drawn) == 4
        for _, arguments in hub.drawn:
            assert arguments["guidance"] is None
            assert arguments["encoder_hidden_states"].shape[1] == len(arguments["txt_ids"]) == 256

    @pytest.mark.parametrize(
        ("offload", "call", "times"),
        [
            ("none", "to", 1),
            ("model", "enable_model_cpu_offload", 2),
            ("sequential", "enable_sequential_cpu_offload", 2),
        ],
    )
    def test_offload_uses_the_given_device(
        self, hub, make_backend, order, realism, offload, call, times, monkeypatch
    ):
        """Offloading is set up on the given device, and again for the variant of an adapter.

        Without it, the variant is made where the base lies.
        """
        monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)  # there is none here
        backend = make_backend(
            profile="full", models_dir=None, device="cuda:1", offload=Offload(offload), draw_profile="exact"
        )
        for adapter in (None, realism):
            backend.warm_up(order.model_id, order.revision, adapter)
        assert hub.placed == [(call, torch.device("cuda:1"))] * times

    def test_models_dir_needs_no_hub(self, float32, hub, make_backend, miniature, order, realism):
        """If MODELS_DIR has all weights, no request is sent to the hub."""
        backend = make_backend(profile="full", models_dir=miniature)
        backend.generate(replace(order, adapter=realism), ignore_progress)
        assert [source for source, *_ in hub.pipelines] == [DEV]
        assert hub.downloaded == hub.adapters == []


class TestResidency:
    def test_dev_and_schnell_share_their_parts(self, make_backend, order, order_of):
        """T5, CLIP and the VAE of both are the same objects, and each draws what it draws alone."""
        schnell = order_of(ENTRIES["flux-schnell-fast"], max_text_tokens=64)
        backend = make_backend()
        images = [backend.generate(each, ignore_progress).image.tobytes() for each in (order, schnell)]
        assert backend.resident == {DEV, SCHNELL}
        first, second = (backend._residents.get((each.model_id, each.revision)) for each in (order, schnell))
        for name in ("text_encoder", "text_encoder_2", "vae"):
            assert getattr(first.pipeline, name) is getattr(second.pipeline, name)
        alone = make_backend().generate(schnell, ignore_progress).image.tobytes()
        assert images[1] == alone
        assert backend.generate(order, ignore_progress).image.tobytes() == images[0]

    def test_closing_evicts_all(self, make_backend, order):
        """A closed backend has no resident pipeline."""
        backend = make_backend()
        backend.warm_up(order.model_id, order.revision, None)
        backend.close()
        assert backend.resident == frozenset()
