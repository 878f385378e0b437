"""`avatar-creator weights download`, run as a command, against a fake hub on loopback."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from catalog.entries import shipped_entries
from server.settings.groups import variables
from tests.inference.weights.hub import TOKEN, open_hub
from tests.inference.weights.repositories import DEV, LARGEST, SCHNELL, repositories

COMMAND = [sys.executable, "-P", "-m", "server.cli", "weights", "download"]


@pytest.fixture
def hub():
    """A hub with the catalogue's revisions."""
    with open_hub(repositories()) as opened:
        opened.revisions |= {str(entry.revision) for entry in shipped_entries()}
        yield opened


@pytest.fixture
def environ(hub, tmp_path):
    """The environment of an operator with a token."""
    inherited = {
        name: text
        for name, text in os.environ.items()
        if name not in variables() and "PROXY" not in name.upper()
    }
    return inherited | {
        "COLUMNS": "200",
        "HF_ENDPOINT": hub.url,
        "OUTBOUND_ALLOWED_NETWORKS": "127.0.0.0/8,::1",  # the host of large files
        "HF_HOME": str(tmp_path / "home"),
        "HUGGINGFACE_API_KEY": TOKEN,
        "MODELS_DIR": str(tmp_path / "models"),
    }


@pytest.fixture
def download(environ):
    """Run the command. Keyword arguments set environment variables; an empty value unsets a setting."""

    def run(*arguments, command=COMMAND, **changes):
        return subprocess.run(
            [*command, *arguments],
            env=environ | changes,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


class TestDownload:
    def test_three_models_in_one_command(self, hub, download, tmp_path):
        """It shows revisions, sizes and free space, fetches all models, and prints the setting to use."""
        process = download()
        assert (process.returncode, process.stdout) == (0, f"MODELS_DIR={tmp_path / 'models'}\n")
        for words in (
            DEV[:20],
            SCHNELL[:20],
            "3de623fc3c33",
            "24.8 MB",
            "free at",
            "0.8 MB shared between models",
        ):
            assert words in process.stderr, process.stderr
        assert hub.url not in process.stderr  # a file's URL is signed, so anybody with it may fetch the file
        assert len(json.loads((tmp_path / "models" / "weights.json").read_text())) == 3

    def test_a_dry_run_fetches_nothing(self, hub, download, tmp_path):
        """The command shows the table, and creates neither a file nor a folder."""
        process = download("--dry-run", "--entry", "flux-schnell-fast")
        assert process.returncode == 0
        assert SCHNELL in process.stderr
        assert DEV not in process.stderr
        assert not hub.downloads
        assert not (tmp_path / "models").exists()

    def test_the_script_is_the_command(self, download, tmp_path):
        """scripts/download_weights.py takes the same options and does the same."""
        script = [sys.executable, "-m", "scripts.download_weights"]
        process = download("--entry", "flux-schnell-fast", "--to", str(tmp_path / "other"), command=script)
        assert (process.returncode, process.stdout) == (0, f"MODELS_DIR={tmp_path / 'other'}\n")
        assert (tmp_path / "other" / SCHNELL / "model_index.json").is_file()

    def test_a_killed_download_is_resumed(self, hub, environ, download, tmp_path):
        """After a kill with -9 in the middle of the largest file, the next run fetches the rest of it."""
        hub.stalls[LARGEST] = 15_000_000
        running = subprocess.Popen(COMMAND, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert hub.stalled.wait(30)
        partial = next((tmp_path / "models" / DEV / "transformer").glob(".*.part"))
        while partial.stat().st_size < 10_000_000:
            assert running.poll() is None
        running.kill()
        running.wait()
        hub.stalls.clear()
        hub.downloads.clear()
        hub.range_starts.clear()
        assert download().returncode == 0
        assert hub.range_starts[LARGEST] == [partial_bytes := hub.range_starts[LARGEST][0]]
        assert partial_bytes >= 10_000_000
        assert (tmp_path / "models" / DEV / LARGEST).read_bytes() == hub.repositories[DEV][LARGEST]


class TestCauses:
    @pytest.mark.parametrize(
        ("spoil", "changes", "code", "words"),
        [
            (lambda hub: setattr(hub, "licences_accepted", False), {}, 3, "accept its licence at https://"),
            (lambda _: None, {"HUGGINGFACE_API_KEY": ""}, 4, "HUGGINGFACE_API_KEY is not set"),
            (lambda _: None, {"HUGGINGFACE_API_KEY": "hf_other"}, 4, "is wrong or was revoked"),
            (lambda _: None, {"FLUX_MODEL": "nobody/nothing"}, 5, "no repository of nobody/nothing"),
            (lambda hub: hub.revisions.clear(), {}, 5, f"no such revision of {DEV}"),
            (
                lambda hub: hub.repositories[SCHNELL].pop("model_index.json"),
                {},
                5,
                f"no model_index.json of {SCHNELL}",
            ),
            (lambda _: None, {"HF_ENDPOINT": "http://127.0.0.1:9"}, 7, "does not answer (ConnectError)"),
            (
                lambda _: None,
                {"OUTBOUND_ALLOWED_NETWORKS": ""},
                7,
                "http from the networks in OUTBOUND_ALLOWED_NETWORKS",
            ),
            (lambda hub: hub.lengthened.add(LARGEST), {}, 11, f"{DEV}/{LARGEST} is longer than the"),
            (lambda hub: hub.corrupted.add(LARGEST), {}, 8, f"{DEV}/{LARGEST} was fetched and has the hash"),
        ],
        ids=[
            "gated",
            "no token",
            "bad token",
            "unknown",
            "revision",
            "file",
            "away",
            "private",
            "too long",
            "damaged",
        ],
    )
    def test_each_has_a_message_and_an_exit_code(self, hub, download, spoil, changes, code, words):
        """Each cause has a message without a traceback, and an exit code."""
        spoil(hub)
        process = download(**changes)
        message = " ".join(process.stderr.split())
        assert process.returncode == code, message
        assert words in message
        assert "Traceback" not in message
        assert "hf_other" not in message

    @pytest.mark.parametrize(
        ("options", "begun"),
        [("size=8m", False), ("size=64m,nr_inodes=12", True)],
        ids=["before", "meanwhile"],
    )
    def test_a_full_disk(self, hub, download, tmp_path, options, begun):
        """If the disk is too small, no download begins; if it fills up later, the message is the same."""
        script = 'mount -t tmpfs -o "$0" tmpfs "$MODELS_DIR" && exec "$@"'
        own_mounts = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, options]
        (tmp_path / "models").mkdir()
        if not shutil.which("unshare") or download("true", command=own_mounts).returncode:
            pytest.skip("this user may not mount the small tmpfs that this test uses as a full disk")
        process = download(*COMMAND, command=own_mounts)
        message = " ".join(process.stderr.split())
        assert process.returncode == 6, message
        assert "does not hold what is to be fetched: 0.0" in message
        assert "Traceback" not in message
        assert bool(hub.downloads) is begun
