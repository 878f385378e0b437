import secrets
import stat
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from server.images.links import ROUTE, Links, shared_secret
from server.images.store import ImageStore, Variant

KEY = "00112233445566778899aabbccddeeff"
FILES = {Variant.FULL: b"\x89PNG full", Variant.THUMBNAIL: b"\xff\xd8 small"}


class TestLinks:
    def test_a_path_is_stable(self):
        """The same secret gives the same path in every process, another secret another one."""
        secret = secrets.token_bytes(32)
        assert Links(secret).path(KEY, Variant.FULL) == Links(secret).path(KEY, Variant.FULL)
        assert Links(secret).path(KEY, Variant.FULL) != Links(b"other").path(KEY, Variant.FULL)

    @pytest.mark.parametrize("variant", list(Variant))
    def test_its_own_path_opens(self, variant):
        """A signed path opens the image and variant that it was made for."""
        links = Links(b"secret")
        name = links.path(KEY, variant).removeprefix(ROUTE + "/")
        assert links.open(name) == (KEY, variant)

    def test_a_thumbnail_does_not_give_the_image_away(self):
        """The full image's path cannot be derived from the thumbnail's."""
        links = Links(b"secret")
        thumbnail = links.path(KEY, Variant.THUMBNAIL).removeprefix(ROUTE + "/")
        assert links.open(thumbnail.replace(".jpg", ".png")) is None
        full = links.path(KEY, Variant.FULL).removeprefix(ROUTE + "/")
        assert full.rpartition(".")[0] != thumbnail.rpartition(".")[0]

    @pytest.mark.parametrize(
        "name", ["", ".", "-", ".png", "-.png", f"{KEY}.png", f"{KEY}-.png", "é-é.png", "a\0-b.png"]
    )
    def test_nonsense_opens_nothing(self, name):
        """A name that was never signed is no image, whatever it looks like."""
        assert Links(b"secret").open(name) is None


class TestSharedSecret:
    def test_threads_agree(self, tmp_path):
        """Eight threads that ask at the same moment get the same secret."""
        barrier = threading.Barrier(8)
        shared = []

        def ask():
            barrier.wait()
            shared.append(shared_secret(tmp_path / "data"))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(shared) == 8
        assert len(set(shared)) == 1
        assert len(shared[0]) == 32

    def test_processes_agree(self, tmp_path):
        """Processes that first ask at the same moment get one secret, and a later process gets it, too."""
        with ProcessPoolExecutor(4, get_context("spawn")) as processes:
            shared = list(processes.map(shared_secret, [tmp_path] * 8, timeout=60))
        assert set(shared) == {shared_secret(tmp_path)}

    def test_only_its_owner_can_read_it(self, tmp_path):
        """The file cannot be read by others, and nothing is left beside it."""
        shared_secret(tmp_path)
        (path,) = tmp_path.iterdir()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_two_folders_have_two(self, tmp_path):
        """Every data folder has a secret of its own."""
        assert shared_secret(tmp_path / "one") != shared_secret(tmp_path / "two")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestRoute:
    @pytest.fixture
    def paths(self, api, settings):
        """The paths of an image that is stored in the application's data folder."""
        key = ImageStore(settings.server.images_dir).put(FILES).key
        links = Links(shared_secret(settings.server.data_dir))
        return {variant: links.path(key, variant) for variant in Variant}

    def test_an_img_tag_can_open_it(self, api, paths):
        """Without a token both files are served unchanged, with their media types, marked as immutable."""
        for variant, kind in ((Variant.FULL, "image/png"), (Variant.THUMBNAIL, "image/jpeg")):
            answer = api.client.get(paths[variant])
            assert answer.status_code == 200
            assert answer.content == FILES[variant]
            assert answer.headers["content-type"] == kind
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
            assert "immutable" in answer.headers["cache-control"]

    def test_no_neighbour_of_a_path_opens(self, api, paths):
        """A path with one changed character in its key or signature is a 404."""
        path = paths[Variant.FULL]
        start, end = len(ROUTE) + 1, len(path) - len(".png")
        assert api.client.get(path).status_code == 200
        for place in range(start, end):
            other = "0" if path[place] != "0" else "1"
            answer = api.client.get(path[:place] + other + path[place + 1 :])
            assert api.refused(answer, 404, "RESOURCE_NOT_FOUND")["message"] == "Image not found"

    def test_a_path_leads_nowhere_else(self, api, paths):
        """Neither another file extension nor a path out of the folder opens an image."""
        for name in ("x.txt", "%2e%2e%2fimage-links.secret", "..%5c..png", "%00.png", "a" * 2000 + ".png"):
            assert api.client.get(f"{ROUTE}/{name}").status_code == 404

    def test_a_signed_path_without_a_file_is_not_found(self, api, settings, paths):
        """A path whose image was deleted is a 404, not an error of the server."""
        key = paths[Variant.FULL].removeprefix(ROUTE + "/").partition("-")[0]
        ImageStore(settings.server.images_dir).delete(key)
        api.refused(api.client.get(paths[Variant.FULL]), 404, "RESOURCE_NOT_FOUND")
