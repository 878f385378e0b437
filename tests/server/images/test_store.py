import hashlib
import os
from datetime import timedelta
from pathlib import Path

import pytest

from server.clock import now
from server.images.store import ImageBroken, ImageStore, Variant

FILES = {Variant.FULL: b"\x89PNG full", Variant.THUMBNAIL: b"\xff\xd8 small"}


@pytest.fixture
def store(tmp_path):
    """A store in a folder that does not exist yet."""
    return ImageStore(tmp_path / "deep" / "images")


class TestPut:
    def test_what_was_put_reads_back(self, store):
        """Both files come back byte for byte, and the digest is the full image's."""
        stored = store.put(FILES)
        assert {variant: store.read(stored.key, variant) for variant in Variant} == FILES
        assert stored.sha256 == hashlib.sha256(FILES[Variant.FULL]).hexdigest()

    def test_names_are_random(self, store):
        """The same image put many times gets as many names, of 128 bits each."""
        keys = {store.put(FILES).key for _ in range(20)}
        assert len(keys) == 20
        assert all(len(bytes.fromhex(key)) == 16 for key in keys)

    def test_another_process_reads_it(self, store, tmp_path):
        """A second store on the same folder finds what the first one put."""
        stored = store.put(FILES)
        assert ImageStore(tmp_path / "deep" / "images").read(stored.key, Variant.FULL) == FILES[Variant.FULL]

    def test_a_broken_file_is_noticed(self, store, monkeypatch):
        """A file that reads back other than it was written is an error."""
        # A real disk cannot be made to fail here, so reading loses the last byte.
        stream = store.stream
        monkeypatch.setattr(store, "stream", lambda *of: (0, (piece[:-1] for piece in stream(*of)[1])))
        with pytest.raises(ImageBroken) as broken:
            store.put(FILES)
        assert broken.value.key in str(broken.value)
        assert [key for batch in store.older_than(now() + timedelta(hours=1)) for key in batch] == []

    def test_an_open_file_is_stored_from_where_it_stands(self, store, tmp_path):
        """A file larger than what is in memory at a time is stored whole, with the digest of its content."""
        content = bytes(range(256)) * 20_000
        path = tmp_path / "large"
        path.write_bytes(b"head" + content)
        with path.open("rb") as file:
            file.seek(4)
            stored = store.put({Variant.FULL: file, Variant.THUMBNAIL: b"small"})
        assert store.read(stored.key, Variant.FULL) == content
        assert stored.sha256 == hashlib.sha256(content).hexdigest()

    def test_files_are_flushed_with_their_folder(self, store, monkeypatch):
        """Each file and the folder that names it reach the disk before the image counts as stored."""
        flushed = []
        flush = os.fsync

        def record(descriptor):
            flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
            flush(descriptor)

        monkeypatch.setattr(os, "fsync", record)
        key = store.put(FILES).key
        assert {f"{key}.png", f"{key}.jpg", "avatars"} <= set(flushed)


class TestDelete:
    def test_a_deleted_image_is_gone(self, store):
        """Both files are deleted, and other images stay."""
        gone, kept = store.put(FILES).key, store.put(FILES).key
        store.delete(gone)
        for variant in Variant:
            with pytest.raises(FileNotFoundError):
                store.read(gone, variant)
        assert store.read(kept, Variant.FULL) == FILES[Variant.FULL]

    def test_deleting_twice_is_no_error(self, store):
        """An image that is gone or incomplete can be deleted."""
        key = store.put({Variant.FULL: b"alone"}).key
        store.delete(key)
        store.delete(key)


class TestDiscard:
    def test_one_that_cannot_be_deleted(self, store, tmp_path):
        """An image whose file cannot be deleted keeps no other one from being deleted."""
        first, stuck, last = (store.put(FILES).key for _ in range(3))
        path = tmp_path / "deep" / "images" / "avatars" / f"{stuck}.{Variant.FULL}"
        path.unlink()
        path.mkdir()
        assert store.discard([first, stuck, last]) == 2
        for key in (first, last):
            with pytest.raises(FileNotFoundError):
                store.read(key, Variant.THUMBNAIL)

    def test_nothing(self, store):
        """No image is no work."""
        assert store.discard([]) == 0


class TestOlderThan:
    def test_only_older_images_are_listed(self, store, tmp_path):
        """An image is as old as its files, and each key is listed once."""
        old, new = store.put(FILES).key, store.put(FILES).key
        for variant in Variant:
            path = tmp_path / "deep" / "images" / "avatars" / f"{old}.{variant}"
            two_hours_ago = (now() - timedelta(hours=2)).timestamp()
            os.utime(path, (two_hours_ago, two_hours_ago))
        listed = [key for batch in store.older_than(now() - timedelta(hours=1)) for key in batch]
        assert listed == [old]
        everything = {key for batch in store.older_than(now() + timedelta(hours=1)) for key in batch}
        assert everything == {old, new}

    def test_an_empty_store_lists_nothing(self, store):
        """A store without an image has nothing to sweep."""
        assert [key for batch in store.older_than(now()) for key in batch] == []
