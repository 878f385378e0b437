"""FLUX.1 at its real size on the meta device, where it has shapes and uses no memory."""

import pytest
import torch
from safetensors.torch import save_file
from torch.utils.flop_counter import FlopCounterMode

from catalog.entries import Adapter
from inference import fullsize
from inference.fullsize import parameters
from inference.local.adapters import read_adapter
from inference.miniature.vocabulary import MAX_TEXT_TOKENS, t5_tokenizer

META = torch.device("meta")
GB = 1e9


def weight_bytes(model: torch.nn.Module) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


@pytest.fixture(scope="module")
def transformer():
    return fullsize.transformer(META, guidance_embeds=True)


class TestSizes:
    def test_transformer(self, transformer):
        """The transformer has 11.9 B parameters, which in bfloat16 are 23.8 GB."""
        assert parameters(transformer) / 1e9 == pytest.approx(11.90, abs=0.005)
        assert weight_bytes(transformer) / GB == pytest.approx(23.8, abs=0.05)

    def test_schnell_lacks_guidance(self, transformer):
        """The schnell transformer is the dev transformer without the two layers that embed the guidance."""
        schnell = fullsize.transformer(META, guidance_embeds=False)
        width = fullsize.WIDTH
        assert parameters(transformer) - parameters(schnell) == (256 + 1) * width + (width + 1) * width

    def test_t5(self):
        """The T5 encoder is 9.5 GB in bfloat16."""
        assert weight_bytes(fullsize.t5(META)) / GB == pytest.approx(9.5, abs=0.05)

    def test_clip_and_vae(self):
        """CLIP-L and the VAE together are 0.4 GB."""
        small = weight_bytes(fullsize.clip(META)) + weight_bytes(fullsize.autoencoder(META))
        assert small / GB == pytest.approx(0.4, abs=0.05)

    def test_adapter(self):
        """An adapter of rank 16 on the double blocks has 11.2 M parameters."""
        assert sum(a * b for a, b in fullsize.lora_shapes().values()) / 1e6 == pytest.approx(11.2, abs=0.05)

    def test_adapter_fits(self, transformer, tmp_path):
        """The full-size adapter passes the check for real adapters."""
        file = tmp_path / "lora.safetensors"
        values = {
            key: torch.full(shape, 0.01, dtype=torch.bfloat16)
            for key, shape in fullsize.lora_shapes().items()
        }
        save_file(values, file)
        adapter = Adapter("an/adapter", 0.9, file.name)
        assert len(read_adapter(file, adapter.model_id, transformer).modules) == 19 * 8


class TestDecoding:
    @pytest.mark.parametrize(("size_px", "tflop"), [(512, 2.5), (768, 5.8), (1024, 10.5)])
    def test_vae(self, size_px, tflop):
        """The VAE decodes latents of 16 channels at an eighth of the image's size, with the known TFLOP."""
        vae = fullsize.autoencoder(META)
        latents = torch.empty(1, 16, size_px // 8, size_px // 8, device=META, dtype=torch.bfloat16)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            image = vae.decode(latents, return_dict=False)[0]
        assert image.shape == (1, 3, size_px, size_px)
        assert counter.get_total_flops() / 1e12 == pytest.approx(tflop, abs=0.1)

    def test_a_random_vae_draws_no_flat_image(self):
        """An image decoded with random weights deviates by more than two levels."""
        torch.manual_seed(0)
        vae = fullsize.autoencoder(torch.device("cpu"))
        with torch.no_grad():
            image = vae.decode(torch.randn(1, 16, 4, 4, dtype=torch.bfloat16), return_dict=False)[0]
        assert torch.isfinite(image).all()
        assert 127.5 * float(image.float().clamp(-1, 1).std()) > 2


class TestPipeline:
    def test_reads_long_prompts(self):
        """The pipeline of FLUX.1-dev is built without a hub, and its T5 reads 512 tokens of a prompt."""
        pipeline = fullsize.pipeline(META, dev=True)
        assert pipeline.tokenizer_2.model_max_length == 512
        assert pipeline.vae_scale_factor * 2 == fullsize.TOKEN_PX
        assert {part.dtype for part in (pipeline.transformer, pipeline.vae)} == {torch.bfloat16}
        assert pipeline.text_encoder_2.dtype == pipeline.text_encoder.dtype == torch.bfloat16
        ids = pipeline.tokenizer("a woman in 1950, smiling").input_ids
        assert max(ids) < fullsize.CLIP["vocab_size"]

    def test_miniature_stays_short(self):
        """Building FLUX.1 does not change the limit of the miniature's tokenizer, 64 tokens."""
        fullsize.pipeline(META, dev=False)
        assert t5_tokenizer().model_max_length == MAX_TEXT_TOKENS
