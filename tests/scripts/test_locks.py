"""What the locks promise: every file by its hash, with one exception, and the same versions everywhere."""

import re
import tomllib
from pathlib import Path

import pytest

from scripts.unhash_torch import TORCH

ROOT = Path(__file__).parent.parent.parent
REQUIREMENT = re.compile(
    r"^([a-z0-9-]+)==(\S+)([^\n]*(?:\n    --hash=sha256:[0-9a-f]{64}[^\n]*)*)", re.MULTILINE
)


def locked(name):
    """Return the version and the number of hashes of each package in a lock."""
    text = (ROOT / "requirements" / name).read_text("utf-8")
    return {package: (version, rest.count("--hash=")) for package, version, rest in REQUIREMENT.findall(text)}


class TestLocks:
    @pytest.mark.parametrize("name", ["build.lock", "cuda.lock", "cpu.lock"])
    def test_every_package_has_hashes(self, name):
        """Only torch has none, and only in the lock of the CPU builds, whose index has files of its own."""
        without = {package for package, (_, hashes) in locked(name).items() if not hashes}
        assert without == ({"torch"} if name == "cpu.lock" else set())

    @pytest.mark.parametrize("name", ["build.lock", "cuda.lock"])
    def test_the_versions_are_those_that_are_tested(self, name):
        """What is in the images, or builds them, has the version with which the tests run."""
        tested, image = locked("cpu.lock"), locked(name)
        assert {each for each in image.keys() & tested.keys() if image[each][0] != tested[each][0]} == set()

    def test_the_build_backend_is_pinned(self):
        """pyproject.toml asks for the build backend that the lock has with its hashes."""
        required = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["build-system"]["requires"]
        assert required == [f"hatchling=={locked('build.lock')['hatchling'][0]}"]

    def test_torch_alone_loses_its_hashes(self):
        """Of a lock, only torch's hashes are removed."""
        text = (
            "a==1 \\\n    --hash=sha256:1\ntorch==2 \\\n    --hash=sha256:2 \\\n    --hash=sha256:3\nz==1\n"
        )
        assert TORCH.sub(r"\1", text) == "a==1 \\\n    --hash=sha256:1\ntorch==2\nz==1\n"


def test_digests_are_of_the_images_that_compose_uses():
    """`make digests` asks for the images that the compose file names as defaults."""
    compose = (ROOT / "docker-compose.gpu.yml").read_text("utf-8")
    defaults = dict(re.findall(r"\$\{((?:BASE|POSTGRES|REDIS)_IMAGE):-([^}]+)\}", compose))
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert dict(re.findall(r"((?:BASE|POSTGRES|REDIS)_IMAGE)=(\S+?)[; ]", makefile)) == defaults
