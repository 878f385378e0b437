import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from safetensors import safe_open
from safetensors.torch import load_file

from inference.miniature import building
from inference.miniature.architecture import lora_shapes, transformer
from inference.miniature.vocabulary import WORDS, clip_tokenizer, t5_tokenizer
from inference.weights.locations import ADAPTER_FILE, DEV, SCHNELL

WEIGHTS = Path(building.__file__).parent / "weights"
BUILD = "import sys, pathlib; from inference.miniature.building import build_miniature; "


def digests(folder):
    """Return the digest of every file, by its path in the folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class TestBuilding:
    def test_two_processes_build_one(self, tmp_path, miniature):
        """Two processes that build at once leave one folder, byte for byte what a third had built."""
        code = f"{BUILD} print(build_miniature(pathlib.Path(sys.argv[1])))"

        def build(_):
            return subprocess.check_output([sys.executable, "-c", code, str(tmp_path)], text=True).strip()

        with ThreadPoolExecutor(2) as pool:
            folders = set(pool.map(build, range(2)))
        assert folders == {str(tmp_path / building.version())}
        assert [path.name for path in tmp_path.iterdir()] == [building.version()]
        assert digests(tmp_path / building.version()) == digests(miniature)

    def test_it_does_not_depend_on_what_was_tokenized_before(self, tmp_path, miniature):
        """A process that has padded and cut texts builds the same files as one that has not."""
        for make in (clip_tokenizer, t5_tokenizer):
            make()("red hair", padding="max_length", truncation=True)
        assert digests(building.build_miniature(tmp_path)) == digests(miniature)

    def test_building_again_does_nothing(self, models_dir, miniature, monkeypatch):
        """What is built already is not built again."""
        monkeypatch.setattr(building, "_pipeline", None)
        assert building.build_miniature(models_dir) == miniature

    def test_losing_the_race_is_no_error(self, tmp_path, monkeypatch):
        """Who finishes second throws its own away and uses the other's."""
        monkeypatch.setattr(building, "_copy_adapter", lambda _: other(tmp_path / building.version()))

        def other(finished):
            finished.mkdir()
            (finished / "theirs").touch()

        finished = building.build_miniature(tmp_path)
        assert [path.name for path in finished.iterdir()] == ["theirs"]
        assert list(tmp_path.iterdir()) == [finished]

    def test_a_failed_build_leaves_nothing(self, tmp_path, monkeypatch):
        """A build that fails leaves neither a folder nor a draft."""

        def fail(_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(building, "_copy_adapter", fail)
        with pytest.raises(OSError, match="No space"):
            building.build_miniature(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_it_is_laid_out_as_the_real_repositories(self, miniature):
        """Each pipeline has the folders of FLUX.1's repository, and the adapter is one file."""
        parts = {
            "model_index.json", "scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2",
            "transformer", "vae",
        }  # fmt: skip
        for model in (DEV, SCHNELL):
            assert {path.name for path in (miniature / model).iterdir()} == parts
        with safe_open(miniature / ADAPTER_FILE, framework="pt") as adapter:
            assert set(adapter.keys()) == set(lora_shapes())
            assert adapter.get_slice(next(iter(lora_shapes()))).get_dtype() == "BF16"


class TestWeights:
    def test_they_are_the_ones_that_were_examined(self):
        """Every shipped file has the hash that its list names, and the list names every file."""
        named = dict(reversed(line.split()) for line in (WEIGHTS / "SHA256SUMS").read_text().splitlines())
        found = {
            file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in WEIGHTS.glob("*.safetensors")
        }
        assert named == found

    def test_they_are_small(self):
        """All of them together are less than 25 MB, in bf16."""
        files = list(WEIGHTS.glob("*.safetensors"))
        assert len(files) == 6
        assert sum(file.stat().st_size for file in files) < 25e6
        for file in files:
            with safe_open(file, framework="pt") as weights:
                assert {weights.get_slice(key).get_dtype() for key in weights.keys()} == {"BF16"}  # noqa: SIM118 - no mapping

    def test_a_word_means_the_same_in_capitals(self):
        """T5 reads a known word in lower case, capitalised and in capitals as the same."""
        table = load_file(WEIGHTS / "t5.safetensors")["shared.weight"]
        numbers = t5_tokenizer()("red Red RED").input_ids[:3]
        assert len(set(numbers)) == 3
        assert (table[numbers] == table[numbers[0]]).all()


class TestArchitecture:
    def test_it_is_flux_in_small(self):
        """The transformer has FLUX.1's latent channels and two to three million parameters."""
        small = transformer(guidance_embeds=True)
        assert small.config.in_channels == 64
        assert 2e6 < sum(parameter.numel() for parameter in small.parameters()) < 3e6
        assert small.time_text_embed.guidance_embedder is not None
        assert not transformer(guidance_embeds=False).config.guidance_embeds


class TestVocabulary:
    @pytest.mark.parametrize("make", [t5_tokenizer, clip_tokenizer])
    def test_different_words_are_different_numbers(self, make):
        """Two known words make a difference to both tokenizers."""
        assert make()("a red hat").input_ids != make()("a blue hat").input_ids

    @pytest.mark.parametrize("word", ["qvxz", "quizzical", "Zoë", "наив", "漢字"])
    def test_an_unknown_word_is_one_token(self, word):
        """Whatever an unknown word is made of, to T5 it is one unknown piece, and its neighbours stay."""
        unknown = t5_tokenizer().unk_token_id
        known = t5_tokenizer()("red hair").input_ids
        assert t5_tokenizer()(f"red {word} hair").input_ids == [known[0], unknown, *known[1:]]

    def test_clip_reads_every_script(self):
        """CLIP's tokenizer tells any two texts apart, byte by byte."""
        texts = ["漢字", "漢子", "🙂", "🙃", "مرحبا", "naïve", "наив"]
        assert len({tuple(clip_tokenizer()(text).input_ids) for text in texts}) == len(texts)

    def test_a_word_of_the_trade_is_one_token(self):
        """Both tokenizers read every word from the list as one token, T5 closing and CLIP enclosing it."""
        for word in (word for word in WORDS if word.isalpha()):
            assert len(t5_tokenizer()(word).input_ids) == 2, word
            assert len(clip_tokenizer()(word).input_ids) == 3, word
        assert t5_tokenizer()("portrait of a man").input_ids[-1] == t5_tokenizer().eos_token_id

    def test_limits(self):
        """T5 reads 64 tokens, CLIP FLUX.1's 77."""
        assert (t5_tokenizer().model_max_length, clip_tokenizer().model_max_length) == (64, 77)
