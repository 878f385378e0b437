import os
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from io import BytesIO

import psutil
import pytest
from PIL import Image

from server.images.store import Variant
from server.uploads.decoders import Bounds, Decoders
from server.uploads.errors import ImageRefused
from tests.server.uploads.mutations import DEEP, mutants

COUNT = 1_000_000 if DEEP else 2_000
SEED = 13
LANES = os.cpu_count() or 1
MAX_PIXELS = 1_000_000


def outcome(decoders, content):
    """Decode a file and return what came of it, in one word."""
    with tempfile.TemporaryFile() as source:
        source.write(content)
        try:
            with decoders.decoded(source) as picture:
                full = picture.files[Variant.FULL].read()
                thumbnail = Image.open(picture.files[Variant.THUMBNAIL])
                assert (thumbnail.format, thumbnail.size) == ("JPEG", (300, 300))
        except ImageRefused:
            return "refused"
    opened = Image.open(BytesIO(full))
    assert opened.format == "PNG"
    assert opened.size == (picture.width_px, picture.height_px)
    assert opened.width * opened.height <= MAX_PIXELS
    assert opened.info == {}
    return "accepted"


@pytest.mark.deep
def test_damaged_files_harm_nothing(tmp_path, monkeypatch, record_property):
    """Thousands of damaged files are refused or decoded whole: none harms this process or leaves a file."""
    spool = tmp_path / "spool"
    spool.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spool))
    decoders = Decoders(Bounds(MAX_PIXELS, decoders=LANES, wait_s=1, cpu_s=20))
    me = psutil.Process()
    began, before = time.monotonic(), me.memory_info().rss
    with ExitStack() as stack:
        stack.callback(decoders.close)
        threads = stack.enter_context(ThreadPoolExecutor(LANES))

        def run(lane):
            share = COUNT // LANES + (lane < COUNT % LANES)
            return Counter(outcome(decoders, content) for content in mutants(SEED * 1000 + lane, share))

        outcomes = sum(threads.map(run, range(LANES)), Counter())
    seconds, grown_mib = time.monotonic() - began, (me.memory_info().rss - before) / 2**20
    record_property(
        "figure",
        f"{COUNT} damaged files: {dict(outcomes)}, {COUNT / seconds:.0f}/s, {grown_mib:.0f} MiB more",
    )
    assert outcomes.total() == COUNT
    assert outcomes["accepted"] > COUNT // 50
    assert outcomes["refused"] > COUNT // 50
    assert not list(spool.iterdir())
    assert grown_mib < 100
