import platform
import subprocess
import sys

import pytest

ALLOCATE = """
import ctypes, sys, threading
from server.http.allocator import share_arenas

shared = "shared" in sys.argv and share_arenas()
libc, barrier = ctypes.CDLL(None), threading.Barrier(12)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]


def allocate():
    barrier.wait()
    libc.malloc(100_000)
    barrier.wait()


threads = [threading.Thread(target=allocate) for _ in range(12)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


def arenas(*arguments):
    """Return how many arenas twelve threads have that allocate at once."""
    run = subprocess.run([sys.executable, "-c", ALLOCATE, *arguments], capture_output=True, check=True)
    return run.stdout.count(b"<heap nr=")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has arenas")
def test_threads_share_arenas():
    """Twelve threads that allocate at once share two arenas, and would have more."""
    assert arenas() > 2
    assert arenas("shared") == 2
