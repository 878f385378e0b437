"""Downloads through huggingface_hub's real client from a fake hub on loopback."""

import json
from dataclasses import replace

import pytest
from huggingface_hub import HfApi

from catalog.entries import shipped_entries
from inference.weights.download import Store
from inference.weights.errors import FileDamaged, FileTooLong, FileTruncated, NoSpace, RevisionsConflict
from inference.weights.remote_files import list_remote_files, required_files
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
    """Download the files of entries, as the command does, and return the inventory before the download."""

    def run(*entries, on_progress=lambda _: None):
        hub.revisions |= {entry.revision for entry in entries}
        client = HfApi(endpoint=hub.url, token=token)
        required = store.with_recorded_revisions(required_files(entries))
        inventory = store.inspect(list_remote_files(client, required))
        store.fetch(client, inventory, on_progress)
        return inventory

    return run


def retry_at_once(monkeypatch):
    """Let the client resume a cut download without a wait."""
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)


class TestCompleteDownload:
    def test_only_the_files_that_pipelines_read_are_fetched(self, hub, store, fetch):
        """Every file of the pipelines and the adapter has the hub's bytes; single-file models are skipped."""
        fetch(BASE, REALISM, HD, FAST)
        fetched = {str(path.relative_to(store.folder)) for path in store.folder.rglob("*") if path.is_file()}
        expected = {
            f"{model}/{name}"
            for model, files in hub.repositories.items()
            for name in files
            if name not in UNWANTED and not name.endswith((".png", ".md"))
        }
        assert fetched == expected | {"weights.json"}
        for model, files in hub.repositories.items():
            for name, content in files.items():
                path = store.folder / model / name
                assert not path.exists() or path.read_bytes() == content

    def test_shared_files_are_fetched_once(self, hub, store, fetch):
        """Encoders, tokenizer and VAE are fetched once and are hard links in both folders."""
        fetch(BASE, FAST)
        for name in SHARED:
            assert hub.downloads[f"{DEV}/{name}"] + hub.downloads[f"{SCHNELL}/{name}"] == 1
            assert (store.folder / DEV / name).samefile(store.folder / SCHNELL / name)

    def test_an_entry_gets_only_its_own_models(self, store, fetch):
        """The fast entry needs only schnell."""
        fetch(FAST)
        assert sorted(path.name for path in store.folder.glob("*/*")) == ["FLUX.1-schnell"]

    def test_the_second_run_fetches_nothing(self, hub, fetch):
        """Complete files are checked and kept."""
        fetch(*shipped_entries())
        hub.downloads.clear()
        inventory = fetch(*shipped_entries())
        assert (inventory.missing, inventory.duplicates, inventory.bytes_to_fetch) == ([], [], 0)
        assert not hub.downloads

    def test_a_damaged_file_is_fetched_again(self, hub, store, fetch):
        """A changed byte on the disk is detected, and only that file is fetched again."""
        fetch(FAST)
        hub.downloads.clear()
        path = store.folder / SCHNELL / SHARED[0]
        content = bytearray(path.read_bytes())
        content[1000] ^= 1
        path.write_bytes(content)
        fetch(FAST)
        assert hub.downloads == {f"{SCHNELL}/{SHARED[0]}": 1}
        assert path.read_bytes() == hub.repositories[SCHNELL][SHARED[0]]

    def test_the_token_is_sent_to_the_hub_only(self, hub, fetch):
        """The host that serves large files does not receive the token."""
        fetch(FAST)
        assert hub.tokens_at_file_host == []

    def test_progress_adds_up(self, fetch):
        """The reported bytes sum to the bytes that were fetched."""
        reported = []
        inventory = fetch(BASE, on_progress=reported.append)
        assert sum(reported) == sum(file.size_bytes for file in inventory.missing)


class TestDrawing:
    def test_the_full_profile_draws_with_the_fetched_files(
        self, token, store, miniature, make_backend, order_of, float32
    ):
        """After a download from a hub that has the miniature, the full profile needs only the folder."""
        models = (DEV, SCHNELL, ADAPTER)
        miniature_files = {
            model: {
                str(path.relative_to(miniature / model)): path.read_bytes()
                for path in (miniature / model).rglob("*")
                if path.is_file()
            }
            for model in models
        }
        with open_hub(miniature_files) as hub:
            hub.revisions |= {str(entry.revision) for entry in shipped_entries()}
            client = HfApi(endpoint=hub.url, token=token)
            store.fetch(client, store.inspect(list_remote_files(client, required_files(shipped_entries()))))
        backend = make_backend(profile="full", models_dir=store.folder)
        for entry in (REALISM, FAST):
            order = order_of(entry, width_px=512, height_px=512, steps=2, max_text_tokens=32)
            assert backend.generate(order, lambda _: None).image.size == (512, 512)
        backend.close()


class TestRecord:
    def test_an_adapter_keeps_its_first_revision(self, hub, store, fetch):
        """The first download pins what the catalogue does not pin; later runs request that revision."""
        fetch(REALISM)
        record = json.loads(store.record_file.read_text())
        assert record[ADAPTER]["revision"] == COMMIT
        assert list(record[ADAPTER]["files"]) == ["lora.safetensors"]
        required = store.with_recorded_revisions(required_files([REALISM]))
        (adapter,) = (files for files in required if files.model_id == ADAPTER)
        assert adapter.revision == COMMIT

    def test_two_revisions_of_one_model_are_refused(self):
        """A folder holds one revision, so a catalogue that needs two causes an error that names both."""
        with pytest.raises(RevisionsConflict, match="main and " + str(REALISM.revision)):
            required_files([replace(BASE, revision="main"), REALISM])


class TestFaults:
    def test_a_cut_download_is_resumed(self, hub, store, fetch, monkeypatch):
        """After a cut, the client requests only the missing bytes of the file."""
        retry_at_once(monkeypatch)
        hub.cuts[LARGEST] = [15_000_000]
        fetch(BASE)
        first, second = hub.range_starts[LARGEST]
        assert first == 0
        assert 10_000_000 <= second <= 15_000_000
        assert (store.folder / DEV / LARGEST).stat().st_size == LARGEST_BYTES

    def test_a_later_run_resumes_the_download(self, hub, store, fetch, monkeypatch):
        """The error of a truncated file holds the received bytes; the next run requests the rest."""
        retry_at_once(monkeypatch)
        hub.cuts[LARGEST] = [15_000_000] * 9
        with pytest.raises(FileTruncated) as caught:
            fetch(BASE)
        assert caught.value.received_bytes >= 10_000_000
        hub.cuts.clear()
        hub.range_starts.clear()
        inventory = fetch(BASE)
        assert inventory.partial_bytes == caught.value.received_bytes
        assert hub.range_starts[LARGEST] == [caught.value.received_bytes]
        assert (store.folder / DEV / LARGEST).read_bytes() == hub.repositories[DEV][LARGEST]
        assert not list(store.folder.rglob("*.part"))

    def test_a_file_with_a_wrong_hash_is_not_kept(self, hub, store, fetch):
        """The error names the file, which is removed; the next run fetches the right bytes."""
        hub.corrupted.add(LARGEST)
        with pytest.raises(FileDamaged, match=LARGEST):
            fetch(BASE)
        assert not list((store.folder / DEV / "transformer").glob("*.safetensors*"))
        hub.corrupted.clear()
        fetch(BASE)
        assert (store.folder / DEV / LARGEST).read_bytes() == hub.repositories[DEV][LARGEST]

    def test_a_file_without_an_end_does_not_fill_the_disk(self, hub, store, fetch):
        """A file that is longer than the hub lists is cut at that size and discarded."""
        hub.lengthened.add(LARGEST)
        with pytest.raises(FileTooLong, match=LARGEST) as caught:
            fetch(BASE)
        assert caught.value.expected_bytes == LARGEST_BYTES
        assert not list((store.folder / DEV / "transformer").glob("*.safetensors*"))

    def test_too_small_a_disk_is_refused_before_the_download(self, hub, token, store, monkeypatch):
        """If the files do not fit, the error before the download states both sizes."""
        hub.revisions.add(str(FAST.revision))
        client = HfApi(endpoint=hub.url, token=token)
        inventory = store.inspect(list_remote_files(client, required_files([FAST])))
        monkeypatch.setattr(Store, "free_bytes", lambda _: inventory.bytes_to_fetch - 1)
        with pytest.raises(NoSpace) as caught:
            store.check_space(inventory)
        assert caught.value.needed_bytes == caught.value.free_bytes + 1
        assert not hub.downloads
