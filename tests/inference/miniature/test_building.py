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
    """Return the digest of each file, by its path in the folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class TestBuilding:
    def test_two_processes_build_one_folder(self, tmp_path, miniature):
        """Two processes that build at the same time leave one folder, with the same bytes as any build."""
        code = f"{BUILD} print(build_miniature(pathlib.Path(sys.argv[1])))"

        def build(_):
            return subprocess.check_output([sys.executable, "-c", code, str(tmp_path)], text=True).strip()

        with ThreadPoolExecutor(2) as pool:
            folders = set(pool.map(build, range(2)))
        assert folders == {str(tmp_path / building.version())}
        assert [path.name for path in tmp_path.iterdir()] == [building.version()]
        assert digests(tmp_path / building.version()) == digests(miniature)

    def test_it_does_not_depend_on_what_was_tokenized_before(self, tmp_path, miniature):
        """A process that has padded and truncated texts before builds the same files."""
        for make in (clip_tokenizer, t5_tokenizer):
            make()("red hair", padding="max_length", truncation=True)
        assert digests(building.build_miniature(tmp_path)) == digests(miniature)

    def test_building_again_does_nothing(self, models_dir, miniature, monkeypatch):
        """A miniature that exists is not built again."""
        monkeypatch.setattr(building, "_pipeline", None)
        assert building.build_miniature(models_dir) == miniature

    def test_losing_the_race_is_no_error(self, tmp_path, monkeypatch):
        """The process that finishes second deletes its own folder and uses the other's."""
        monkeypatch.setattr(building, "_copy_adapter", lambda _: finish_first(tmp_path / building.version()))

        def finish_first(finished):
            finished.mkdir()
            (finished / "theirs").touch()

        finished = building.build_miniature(tmp_path)
        assert [path.name for path in finished.iterdir()] == ["theirs"]
        assert list(tmp_path.iterdir()) == [finished]

    def test_a_failed_build_leaves_nothing(self, tmp_path, monkeypatch):
        """A failed build leaves neither the finished nor the staging folder."""

        def fail(_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(building, "_copy_adapter", fail)
        with pytest.raises(OSError, match="No space"):
            building.build_miniature(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_it_has_the_layout_of_the_real_repositories(self, miniature):
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
    def test_they_are_the_examined_files(self):
        """The hashes of all shipped files are those in SHA256SUMS, which lists no other file."""
        listed = dict(reversed(line.split()) for line in (WEIGHTS / "SHA256SUMS").read_text().splitlines())
        actual = {
            file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in WEIGHTS.glob("*.safetensors")
        }
        assert listed == actual

    def test_they_are_small(self):
        """All six files are in bf16 and together smaller than 25 MB."""
        files = list(WEIGHTS.glob("*.safetensors"))
        assert len(files) == 6
        assert sum(file.stat().st_size for file in files) < 25e6
        for file in files:
            with safe_open(file, framework="pt") as weights:
                assert {weights.get_slice(key).get_dtype() for key in weights.keys()} == {"BF16"}  # noqa: SIM118 - no mapping

    def test_a_word_means_the_same_in_capitals(self):
        """T5's embedding of a known word is the same in lower case, capitalised and in capitals."""
        embeddings = load_file(WEIGHTS / "t5.safetensors")["shared.weight"]
        ids = t5_tokenizer()("red Red RED").input_ids[:3]
        assert len(set(ids)) == 3
        assert (embeddings[ids] == embeddings[ids[0]]).all()


class TestArchitecture:
    def test_it_is_a_small_flux(self):
        """The transformer has FLUX.1's latent channels and two to three million parameters."""
        small = transformer(guidance_embeds=True)
        assert small.config.in_channels == 64
        assert 2e6 < sum(parameter.numel() for parameter in small.parameters()) < 3e6
        assert small.time_text_embed.guidance_embedder is not None
        assert not transformer(guidance_embeds=False).config.guidance_embeds


class TestVocabulary:
    @pytest.mark.parametrize("make", [t5_tokenizer, clip_tokenizer])
    def test_different_words_have_different_tokens(self, make):
        """Both tokenizers map two known words to different tokens."""
        assert make()("a red hat").input_ids != make()("a blue hat").input_ids

    @pytest.mark.parametrize("word", ["qvxz", "quizzical", "Zoë", "наив", "漢字"])
    def test_an_unknown_word_is_one_token(self, word):
        """T5's tokenizer maps any unknown word to one unknown token, and its neighbours keep their tokens."""
        unknown = t5_tokenizer().unk_token_id
        known = t5_tokenizer()("red hair").input_ids
        assert t5_tokenizer()(f"red {word} hair").input_ids == [known[0], unknown, *known[1:]]

    def test_clip_reads_every_script(self):
        """CLIP's tokenizer maps different texts of any script to different tokens."""
        texts = ["漢字", "漢子", "🙂", "🙃", "مرحبا", "naïve", "наив"]
        assert len({tuple(clip_tokenizer()(text).input_ids) for text in texts}) == len(texts)

    def test_a_listed_word_is_one_token(self):
        """Both tokenizers map a listed word to one token; T5 adds an end token, CLIP start and end tokens."""
        for word in (word for word in WORDS if word.isalpha()):
            assert len(t5_tokenizer()(word).input_ids) == 2, word
            assert len(clip_tokenizer()(word).input_ids) == 3, word
        assert t5_tokenizer()("portrait of a man").input_ids[-1] == t5_tokenizer().eos_token_id

    def test_limits(self):
        """T5 reads 64 tokens, and CLIP reads 77 as in FLUX.1."""
        assert (t5_tokenizer().model_max_length, clip_tokenizer().model_max_length) == (64, 77)
