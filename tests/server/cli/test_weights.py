"""`avatar-creator weights download`, run as operators run it, against a hub on loopback."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from catalog.entries import shipped_entries
from tests.inference.weights.hub import TOKEN, open_hub
from tests.inference.weights.repositories import DEV, LARGEST, SCHNELL, repositories
from tests.server.cli.conftest import VARIABLES

COMMAND = [sys.executable, "-m", "server.cli", "weights", "download"]


@pytest.fixture
def hub():
    """A hub that knows the catalogue's revisions."""
    with open_hub(repositories()) as opened:
        opened.revisions |= {str(entry.revision) for entry in shipped_entries()}
        yield opened


@pytest.fixture
def environ(hub, tmp_path):
    """The environment of an operator with a token."""
    kept = {
        name: text
        for name, text in os.environ.items()
        if name not in VARIABLES and "PROXY" not in name.upper()
    }
    return kept | {
        "COLUMNS": "200",
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HUGGINGFACE_API_KEY": TOKEN,
        "MODELS_DIR": str(tmp_path / "models"),
    }


@pytest.fixture
def download(environ):
    """Run the command; keywords are environment variables, empty where there shall be none."""

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
        """It shows revisions, sizes and the free disk, fetches all, and ends with the setting to make."""
        ran = download()
        assert (ran.returncode, ran.stdout) == (0, f"MODELS_DIR={tmp_path / 'models'}\n")
        for words in (
            DEV[:20],
            SCHNELL[:20],
            "3de623fc3c33",
            "24.8 MB",
            "free at",
            "0.8 MB shared between models",
        ):
            assert words in ran.stderr, ran.stderr
        assert hub.url not in ran.stderr  # addresses of files are signed: whoever reads one may fetch it
        assert len(json.loads((tmp_path / "models" / "weights.json").read_text())) == 3

    def test_a_dry_run_fetches_nothing(self, hub, download, tmp_path):
        """The table is shown, and neither a file nor a folder is made."""
        ran = download("--dry-run", "--entry", "flux-schnell-fast")
        assert ran.returncode == 0
        assert SCHNELL in ran.stderr
        assert DEV not in ran.stderr
        assert not hub.downloads
        assert not (tmp_path / "models").exists()

    def test_the_script_is_the_command(self, download, tmp_path):
        """scripts/download_weights.py takes the same options and does the same."""
        script = [sys.executable, "-m", "scripts.download_weights"]
        ran = download("--entry", "flux-schnell-fast", "--to", str(tmp_path / "other"), command=script)
        assert (ran.returncode, ran.stdout) == (0, f"MODELS_DIR={tmp_path / 'other'}\n")
        assert (tmp_path / "other" / SCHNELL / "model_index.json").is_file()

    def test_killed_it_goes_on_where_it_was(self, hub, environ, download, tmp_path):
        """Killed with -9 in the middle of the largest file, the next run fetches the rest of it."""
        hub.stalls[LARGEST] = 15_000_000
        running = subprocess.Popen(COMMAND, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert hub.stalled.wait(30)
        part = next((tmp_path / "models" / DEV / "transformer").glob(".*.part"))
        while part.stat().st_size < 10_000_000:
            assert running.poll() is None
        running.kill()
        running.wait()
        hub.stalls.clear()
        hub.downloads.clear()
        hub.begun_at.clear()
        assert download().returncode == 0
        assert hub.begun_at[LARGEST] == [part_bytes := hub.begun_at[LARGEST][0]]
        assert part_bytes >= 10_000_000
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
            (lambda hub: hub.spoilt.add(LARGEST), {}, 8, f"{DEV}/{LARGEST} was fetched and has the hash"),
        ],
        ids=["gated", "no token", "bad token", "unknown", "revision", "file", "away", "damaged"],
    )
    def test_each_has_a_sentence_and_an_exit_code(self, hub, download, spoil, changes, code, words):
        """Whatever is wrong is told in one sentence without a traceback, and by the exit code."""
        spoil(hub)
        ran = download(**changes)
        said = " ".join(ran.stderr.split())
        assert ran.returncode == code, said
        assert words in said
        assert "Traceback" not in said
        assert "hf_other" not in said

    @pytest.mark.parametrize(
        ("options", "begun"),
        [("size=8m", False), ("size=64m,nr_inodes=12", True)],
        ids=["before", "meanwhile"],
    )
    def test_a_full_disk(self, hub, download, tmp_path, options, begun):
        """On a disk too small nothing is begun; one that is full in the middle gives the same words."""
        script = 'mount -t tmpfs -o "$0" tmpfs "$MODELS_DIR" && exec "$@"'
        own_mounts = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, options]
        (tmp_path / "models").mkdir()
        if not shutil.which("unshare") or download("true", command=own_mounts).returncode:
            pytest.skip("this user may not mount a small tmpfs, which shows what a full disk does")
        ran = download(*COMMAND, command=own_mounts)
        said = " ".join(ran.stderr.split())
        assert ran.returncode == 6, said
        assert "does not hold what is to be fetched: 0.0" in said
        assert "Traceback" not in said
        assert bool(hub.downloads) is begun
