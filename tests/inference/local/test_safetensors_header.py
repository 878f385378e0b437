import contextlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.local.safetensors_header import MAX_HEADER_BYTES, HeaderRejected, TensorHeader, read_header


def write(path, header, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text)
    return path


class TestReadHeader:
    def test_it_reads_types_and_shapes(self, tmp_path):
        """The result has each tensor's type and shape, but no metadata."""
        header = {
            "__metadata__": {"format": "pt"},
            "a": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]},
        }
        assert read_header(write(tmp_path / "x", header)) == {"a": TensorHeader("BF16", (2, 3))}

    def test_a_long_header_is_refused_unread(self, tmp_path):
        """A header whose length exceeds the limit is refused before it is read."""
        with pytest.raises(HeaderRejected, match="claims 96000000 bytes"):
            read_header(write(tmp_path / "x", b"{}", length=96_000_000))

    def test_the_longest_header_is_read(self, tmp_path):
        """A header whose length is exactly the limit is read."""
        assert read_header(write(tmp_path / "x", b"{}" + b" " * (MAX_HEADER_BYTES - 2))) == {}

    def test_many_tensors_are_refused(self, tmp_path):
        """A header with more tensors than the limit is refused, even if it is short."""
        header = {str(key): 0 for key in range(5001)}
        with pytest.raises(HeaderRejected, match="5001 tensors"):
            read_header(write(tmp_path / "x", header))

    def test_a_file_that_ends_early_is_refused(self, tmp_path):
        """A file that is shorter than its header's length is refused."""
        with pytest.raises(HeaderRejected, match="ends within its header"):
            read_header(write(tmp_path / "x", b"{}", length=100))

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
    @given(st.one_of(st.binary(max_size=200), st.text(alphabet='{}[]":,a0', max_size=60).map(str.encode)))
    def test_no_bytes_break_it(self, tmp_path, junk):
        """Any bytes in place of a header are either read or refused, and no other error is raised."""
        for path in (write(tmp_path / "framed", junk), tmp_path / "bare"):
            if path.name == "bare":
                path.write_bytes(junk)
            with contextlib.suppress(HeaderRejected):
                assert isinstance(read_header(path), dict)
