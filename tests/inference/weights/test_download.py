"""Fetching through huggingface_hub's real client from a hub on loopback."""

import json
from dataclasses import replace

import pytest
from huggingface_hub import HfApi

from catalog.entries import shipped_entries
from inference.weights.download import Store
from inference.weights.errors import FileDamaged, FileTruncated, NoSpace, RevisionsConflict
from inference.weights.remote_files import survey, wanted
from tests.inference.weights.hub import COMMIT, open_hub
from tests.inference.weights.repositories import (
    ADAPTER,
    DEV,
    LARGEST,
    LARGEST_BYTES,
    SCHNELL,
    SHARED,
    UNWANTED,
)

BASE, REALISM, HD, FAST = shipped_entries()


@pytest.fixture
def store(tmp_path):
    """An empty folder of models."""
    return Store(tmp_path / "models")


@pytest.fixture
def fetch(hub, token, store):
    """Fetch what entries draw with, as the command does, and return what was found to do."""

    def run(*entries, tell=lambda _: None):
        hub.revisions |= {entry.revision for entry in entries}
        client = HfApi(endpoint=hub.url, token=token)
        standing = store.inspect(survey(client, store.recorded(wanted(entries))))
        store.fetch(client, standing, tell)
        return standing

    return run


def without_waiting(monkeypatch):
    """Let the client ask at once for the rest of what was cut off."""
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)


class TestWhole:
    def test_what_pipelines_read_is_there_and_nothing_else(self, hub, store, fetch):
        """Every file of the pipelines and the adapter has the hub's bytes; the one-file copies stay there."""
        fetch(BASE, REALISM, HD, FAST)
        there = {str(path.relative_to(store.folder)) for path in store.folder.rglob("*") if path.is_file()}
        expected = {
            f"{model}/{name}"
            for model, files in hub.repositories.items()
            for name in files
            if name not in UNWANTED and not name.endswith((".png", ".md"))
        }
        assert there == expected | {"weights.json"}
        for model, files in hub.repositories.items():
            for name, content in files.items():
                path = store.folder / model / name
                assert not path.exists() or path.read_bytes() == content

    def test_what_both_models_share_is_fetched_once(self, hub, store, fetch):
        """Encoders, tokenizer and VAE come once and lie in both folders as one file."""
        fetch(BASE, FAST)
        for name in SHARED:
            assert hub.downloads[f"{DEV}/{name}"] + hub.downloads[f"{SCHNELL}/{name}"] == 1
            assert (store.folder / DEV / name).samefile(store.folder / SCHNELL / name)

    def test_an_entry_gets_what_it_draws_with(self, store, fetch):
        """The fast entry needs schnell alone."""
        fetch(FAST)
        assert sorted(path.name for path in store.folder.glob("*/*")) == ["FLUX.1-schnell"]

    def test_the_second_run_fetches_nothing(self, hub, fetch):
        """What is there and whole is checked and left."""
        fetch(*shipped_entries())
        hub.downloads.clear()
        standing = fetch(*shipped_entries())
        assert (standing.lacking, standing.twins, standing.bytes_to_fetch) == ([], [], 0)
        assert not hub.downloads

    def test_what_has_gone_bad_is_fetched_again(self, hub, store, fetch):
        """A byte that has changed on the disk is noticed, and that file alone comes anew."""
        fetch(FAST)
        hub.downloads.clear()
        path = store.folder / SCHNELL / SHARED[0]
        content = bytearray(path.read_bytes())
        content[1000] ^= 1
        path.write_bytes(content)
        fetch(FAST)
        assert hub.downloads == {f"{SCHNELL}/{SHARED[0]}": 1}
        assert path.read_bytes() == hub.repositories[SCHNELL][SHARED[0]]

    def test_the_token_goes_to_the_hub_alone(self, hub, fetch):
        """The host that serves large files is not shown the token."""
        fetch(FAST)
        assert hub.tokens_elsewhere == []

    def test_progress_adds_up(self, fetch):
        """What is told sums to the bytes that were fetched."""
        told = []
        standing = fetch(BASE, tell=told.append)
        assert sum(told) == sum(file.size_bytes for file in standing.lacking)


class TestDrawing:
    def test_the_full_profile_draws_from_what_was_fetched(
        self, token, store, miniature, make_backend, order_of, float32
    ):
        """Fetched from a hub that holds the miniature, the folder is all that the full profile needs."""
        models = (DEV, SCHNELL, ADAPTER)
        held = {
            model: {
                str(path.relative_to(miniature / model)): path.read_bytes()
                for path in (miniature / model).rglob("*")
                if path.is_file()
            }
            for model in models
        }
        with open_hub(held) as hub:
            hub.revisions |= {str(entry.revision) for entry in shipped_entries()}
            client = HfApi(endpoint=hub.url, token=token)
            store.fetch(client, store.inspect(survey(client, wanted(shipped_entries()))))
        backend = make_backend(profile="full", models_dir=store.folder)
        for entry in (REALISM, FAST):
            order = order_of(entry, width_px=512, height_px=512, steps=2, max_text_tokens=32)
            assert backend.generate(order, lambda _: None).image.size == (512, 512)
        backend.close()


class TestRecord:
    def test_an_adapter_keeps_the_revision_that_was_fetched(self, hub, store, fetch):
        """What the catalogue does not pin is pinned by the first download, and asked for by that name."""
        fetch(REALISM)
        record = json.loads(store.record_file.read_text())
        assert record[ADAPTER]["revision"] == COMMIT
        assert list(record[ADAPTER]["files"]) == ["lora.safetensors"]
        (need,) = (need for need in store.recorded(wanted([REALISM])) if need.model_id == ADAPTER)
        assert need.revision == COMMIT

    def test_two_revisions_of_one_model_are_refused(self):
        """One folder holds one revision: a catalogue that wants two is an error that names both."""
        with pytest.raises(RevisionsConflict, match="main and " + str(REALISM.revision)):
            wanted([replace(BASE, revision="main"), REALISM])


class TestFaults:
    def test_a_cut_connection_is_taken_up_where_it_broke(self, hub, store, fetch, monkeypatch):
        """The rest of a file is asked for from the bytes that are here, not from its beginning."""
        without_waiting(monkeypatch)
        hub.cuts[LARGEST] = [15_000_000]
        fetch(BASE)
        first, second = hub.begun_at[LARGEST]
        assert first == 0
        assert 10_000_000 <= second <= 15_000_000
        assert (store.folder / DEV / LARGEST).stat().st_size == LARGEST_BYTES

    def test_a_later_run_goes_on_from_what_came(self, hub, store, fetch, monkeypatch):
        """A file that never came to its end says how far it came; the next run asks for the rest."""
        without_waiting(monkeypatch)
        hub.cuts[LARGEST] = [15_000_000] * 9
        with pytest.raises(FileTruncated) as caught:
            fetch(BASE)
        assert caught.value.found_bytes >= 10_000_000
        hub.cuts.clear()
        hub.begun_at.clear()
        standing = fetch(BASE)
        assert standing.partial_bytes == caught.value.found_bytes
        assert hub.begun_at[LARGEST] == [caught.value.found_bytes]
        assert (store.folder / DEV / LARGEST).read_bytes() == hub.repositories[DEV][LARGEST]
        assert not list(store.folder.rglob("*.part"))

    def test_other_bytes_are_not_kept(self, hub, store, fetch):
        """A file with another hash is named with both, removed, and comes well when it is served well."""
        hub.spoilt.add(LARGEST)
        with pytest.raises(FileDamaged, match=LARGEST):
            fetch(BASE)
        assert not list((store.folder / DEV / "transformer").glob("*.safetensors*"))
        hub.spoilt.clear()
        fetch(BASE)
        assert (store.folder / DEV / LARGEST).read_bytes() == hub.repositories[DEV][LARGEST]

    def test_too_small_a_disk_is_refused_before_anything_is_fetched(self, hub, token, store, monkeypatch):
        """What does not fit is said in advance, with both sizes."""
        hub.revisions.add(str(FAST.revision))
        standing = store.inspect(survey(HfApi(endpoint=hub.url, token=token), wanted([FAST])))
        monkeypatch.setattr(Store, "free_bytes", lambda _: standing.bytes_to_fetch - 1)
        with pytest.raises(NoSpace) as caught:
            store.check_space(standing)
        assert caught.value.needed_bytes == caught.value.free_bytes + 1
        assert not hub.downloads
