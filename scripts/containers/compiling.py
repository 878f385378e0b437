"""Compiles the miniature in the worker's container, as a worker compiles FLUX.1 for its card."""

import json
from typing import Final

import click

from scripts.containers.stack import Stack, expect

_DRAWS: Final = """
import json, os, shutil
from dataclasses import replace
from pathlib import Path
from catalog.entries import shipped_entries
from catalog.orders import Order
from server.settings import Settings
from server.worker.backends import make_backend
backend = make_backend(Settings.from_environment(), 'local')  # before torch, it sets where that compiles
from inference.local import engine
engine.WARM_BATCHES = (1,)  # half the graphs: the others take as long and show nothing new
order = replace(Order.of_entry(shipped_entries()[0], 'a woman with red hair', seed=1), steps=2)
picture = backend.generate(order, lambda _: None)
compiled = [str(each) for each in Path(os.environ['TORCHINDUCTOR_CACHE_DIR']).rglob('*.so')]
print(json.dumps([picture.provenance.profile, shutil.which('cc'), shutil.which('c++'), compiled]))
"""


def check(stack: Stack) -> None:
    """Check that the worker's container has a compiler and keeps what it compiles in its data folder.

    Raises:
        click.ClickException: the miniature was not compiled, or what was compiled is not kept.

    """
    drawn = stack.inside("worker", "env", "DRAW_PROFILE=fast", "python3", "-c", _DRAWS)
    profile, *compilers, compiled = json.loads(drawn.splitlines()[-1])
    if profile != "fast":
        raise click.ClickException(f"The worker's container has not compiled the miniature: {drawn[:3000]}")
    expect(compilers, ["/usr/bin/cc", "/usr/bin/c++"], "the compilers of the worker's container")
    if not compiled or not all(path.startswith("/data/compiled/inductor/") for path in compiled):
        raise click.ClickException(f"The compiled miniature is not kept below /data/compiled: {compiled}")
    click.echo(f"The worker compiled the miniature and keeps {len(compiled)} libraries in its data folder.")
