import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path

import psutil
import pytest
from PIL import Image

from server.images.store import Variant
from server.uploads.decoders import JOB, Bounds, Decoders
from server.uploads.errors import DecodersBusy, ImageRefused
from tests.server.uploads import files

BOUNDS = {"max_pixels": 40_000_000, "decoders": 2, "wait_s": 10.0, "cpu_s": 20}


@pytest.fixture
def open_decoders():
    """Open a pool with changed bounds; it is closed after the test."""
    pools = []

    def opened(**changes):
        pools.append(Decoders(Bounds(**(BOUNDS | changes))))
        return pools[-1]

    yield opened
    for pool in pools:
        pool.close()


@pytest.fixture
def decoders(open_decoders):
    """A pool of decoder processes."""
    return open_decoders()


def decode(decoders, content):
    """Return the size and the files of a decoded upload."""
    with tempfile.TemporaryFile() as source:
        source.write(content)
        with decoders.decoded(source) as picture:
            contents = {variant: file.read() for variant, file in picture.files.items()}
            return (picture.width_px, picture.height_px), contents


def slow_file():
    """Return a PNG that takes seconds to decode."""
    png = files.valid()["PNG"]
    return png[:33] + files.chunk(b"abCd") * 2_000_000 + png[33:]


def processes():
    """Return the decoder processes of this process."""
    return [one for one in psutil.Process().children() if "server.uploads.decoder_process" in one.cmdline()]


class TestDecoded:
    @pytest.mark.parametrize("kind", files.valid())
    def test_every_kind_is_decoded(self, decoders, kind):
        """A valid file of every kind becomes a PNG of its size and a thumbnail."""
        size, contents = decode(decoders, files.valid()[kind])
        opened = Image.open(BytesIO(contents[Variant.FULL]))
        assert (opened.format, opened.size) == ("PNG", size)
        thumbnail = Image.open(BytesIO(contents[Variant.THUMBNAIL]))
        assert (thumbnail.format, thumbnail.size) == ("JPEG", (300, 300))

    @pytest.mark.parametrize("kind", files.refused())
    def test_every_other_file_is_refused(self, decoders, kind):
        """A file of another kind is refused with its reason."""
        content, word = files.refused()[kind]
        with pytest.raises(ImageRefused) as refusal:
            decode(decoders, content)
        assert word in str(refusal.value)

    def test_a_process_stays_warm(self, decoders):
        """Uploads one after another share one process, and each has a fork of its own."""
        decode(decoders, files.valid()["PNG"])
        (first,) = processes()
        decode(decoders, files.valid()["JPEG"])
        assert processes() == [first]
        assert not first.children()

    def test_the_largest_allowed_picture_fits(self, open_decoders):
        """A WebP file, which takes the most memory, may be turned and as large as the cap."""
        red, turned = Image.new("RGBA", (2000, 2000), "red"), files.exif(6).tobytes()
        largest = files.saved(red, "WEBP", lossless=True, method=0, exif=turned)
        size, _ = decode(open_decoders(max_pixels=4_000_000), largest)
        assert size == (2000, 2000)


class TestBounds:
    def test_no_secret_is_inherited(self, decoders, monkeypatch):
        """The environment of a decoder holds only what Python needs."""
        monkeypatch.setenv("HUGGINGFACE_API_KEY", "hf_secret")
        decode(decoders, files.valid()["PNG"])
        (process,) = processes()
        assert set(process.environ()) <= {"PATH", "LD_LIBRARY_PATH", "LANG", "LC_CTYPE", "PYTHONPATH"}

    def test_no_descriptor_is_inherited(self, decoders):
        """A decoder holds its standard streams and its socket, and none of the files of an upload."""
        with tempfile.TemporaryFile():
            decode(decoders, files.valid()["PNG"])
            (process,) = processes()
            paths = Path(f"/proc/{process.pid}/fd").iterdir()
            descriptors = [str(path.readlink()) for path in paths if int(path.name) > 2]
        assert len(descriptors) == 1
        assert descriptors[0].startswith("socket:")

    def test_memory_and_files_are_bounded(self):
        """A fork can neither take more memory nor write more than the cap of pixels needs."""
        limited = """
            import resource, tempfile
            from server.uploads.decoder_process import _limit
            _limit(1000, 20)
            assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
            try:
                bytearray(310 * 2**20)
            except MemoryError:
                print("memory")
            try:
                tempfile.TemporaryFile(buffering=0).write(b"x" * 2_000_000) == 2_000_000 or print("file")
            except OSError:
                print("file")
        """
        ran = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(limited)], check=False, capture_output=True, text=True
        )
        assert ran.stdout.split() == ["memory", "file"], ran.stderr

    def test_processor_time_is_bounded(self, open_decoders):
        """A file that takes more processor time than allowed is refused, and the next one is decoded."""
        decoders = open_decoders(cpu_s=1)
        with pytest.raises(ImageRefused, match="too long"):
            decode(decoders, slow_file())
        assert decode(decoders, files.valid()["PNG"])[0] == (8, 6)


class TestDeath:
    def test_a_process_that_died_idle_is_replaced(self, decoders):
        """An upload does not notice that the idle decoder was killed."""
        decode(decoders, files.valid()["PNG"])
        (first,) = processes()
        first.kill()
        first.wait()
        assert decode(decoders, files.valid()["PNG"])[0] == (8, 6)

    def test_an_upload_whose_process_dies_is_told_to_come_back(self, decoders, monkeypatch):
        """An upload whose decoder is killed in its work gets DecodersBusy, and the next one is decoded."""
        decode(decoders, files.valid()["PNG"])
        (process,) = processes()
        process.suspend()
        send = socket.send_fds

        def send_and_kill(*arguments):
            send(*arguments)
            os.killpg(process.pid, signal.SIGKILL)

        with monkeypatch.context() as patch:
            patch.setattr(socket, "send_fds", send_and_kill)
            with pytest.raises(DecodersBusy):
                decode(decoders, files.valid()["PNG"])
        assert decode(decoders, files.valid()["PNG"])[0] == (8, 6)

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
    def test_a_fork_that_is_stopped_says_nothing_of_its_file(self, decoders, number):
        """An upload whose decoding is stopped from outside, as with the service, gets DecodersBusy."""
        with pytest.raises(DecodersBusy):
            self.decode_and_signal(decoders, number)

    @pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
    def test_a_fork_that_crashes_is_its_files_fault(self, decoders, number):
        """An upload whose decoding crashes is refused: the next one would crash, too."""
        with pytest.raises(ImageRefused, match="is damaged"):
            self.decode_and_signal(decoders, number)

    def decode_and_signal(self, decoders, number):
        """Decode a file that takes seconds, and send its process a signal meanwhile."""
        decode(decoders, files.valid()["PNG"])
        (process,) = processes()
        with ThreadPoolExecutor(1) as thread:
            decoding = thread.submit(decode, decoders, slow_file())
            while not (forks := process.children()):
                assert not decoding.done()
            forks[0].send_signal(number)
            decoding.result()

    def test_a_full_disk_says_nothing_of_the_file(self, decoders, monkeypatch):
        """An upload for whose decoded image there is no room gets DecodersBusy."""
        with tempfile.TemporaryFile() as source:
            source.write(files.valid()["PNG"])
            full = partial(open, "/dev/full", "r+b", buffering=0)
            monkeypatch.setattr(tempfile, "TemporaryFile", full)
            with pytest.raises(DecodersBusy), decoders.decoded(source):
                pass

    def test_a_process_that_hangs_is_killed(self, open_decoders, monkeypatch):
        """An upload whose decoder does not answer in time gets DecodersBusy; the decoder is gone."""
        monkeypatch.setattr("server.uploads.decoders.OTHERS_S", 0)
        decoders = open_decoders(cpu_s=1)
        decode(decoders, files.valid()["PNG"])
        (process,) = processes()
        process.suspend()
        with pytest.raises(DecodersBusy):
            decode(decoders, files.valid()["PNG"])
        assert not process.is_running()

    def test_an_api_that_died_meanwhile_gets_no_answer(self):
        """A decoder whose API died while it decoded ends without a word."""
        jobs, theirs = socket.socketpair()
        reading, writing = os.pipe()
        with jobs, theirs, tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as target:
            source.write(files.valid()["PNG"])
            source.flush()
            descriptors = [source.fileno(), target.fileno(), target.fileno(), writing]
            socket.send_fds(jobs, [JOB], descriptors)
            os.close(reading)
            os.close(writing)
            jobs.close()
            command = [sys.executable, "-P", "-m", "server.uploads.decoder_process", str(theirs.fileno())]
            ended = subprocess.run(
                [*command, "1000", "20"],
                pass_fds=[theirs.fileno()],
                check=False,
                capture_output=True,
                text=True,
            )
        assert (ended.returncode, ended.stderr) == (0, "")

    def test_nothing_survives_the_pool(self, decoders):
        """After closing the pool no process of it is left."""
        decode(decoders, files.valid()["PNG"])
        assert processes()
        decoders.close()
        assert not processes()


class TestTurn:
    def test_those_beyond_the_number_wait_and_are_sent_away(self, open_decoders):
        """With one turn, the second upload gets DecodersBusy after its wait, and a later one its turn."""
        decoders = open_decoders(wait_s=0.05, decoders=1)

        async def use():
            async with decoders.turn():
                with pytest.raises(DecodersBusy):
                    async with decoders.turn():
                        pass
            async with decoders.turn():
                return True

        assert asyncio.run(use())
