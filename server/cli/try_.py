"""try: an avatar from a running server, by its own client."""

import io
import os
import sys
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from avatar_creator_client import AvatarCreatorError, Client, Generation, Wish
from avatar_creator_client import Progress as HowFar
from catalog.entries import MIN_SIZE_PX
from server.cli.options import FILE, Address, Number, Text, check_prompt

MAX_URL_CHARS: Final = 2_000
MAX_TOKEN_CHARS: Final = 4_096
MAX_MODEL_CHARS: Final = 128
MAX_SIDE_PX: Final = 65_536
SIDE: Final = click.IntRange(MIN_SIZE_PX, MAX_SIDE_PX)
SHOWN_COLUMNS: Final = 40
"""The width of a picture in the terminal, in characters."""


@click.command("try")
@click.argument("prompt", callback=check_prompt)
@click.option(
    "--url",
    type=Address(MAX_URL_CHARS),
    envvar="AVATAR_URL",
    default="http://127.0.0.1:5000",
    show_default=True,
    help="The server; also from AVATAR_URL.",
)
@click.option(
    "--key",
    type=Text(MAX_TOKEN_CHARS),
    envvar="AVATAR_KEY",
    required=True,
    help="An API key; also from AVATAR_KEY.",
)
@click.option(
    "--model",
    type=Text(MAX_MODEL_CHARS),
    help="An entry of the catalogue; by default the one that the server chooses.",
)
@click.option("--width", type=SIDE, help="In pixels; by default the entry's.")
@click.option("--height", type=SIDE, help="In pixels; by default the entry's.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="By default a random one, which is printed.")
@click.option("--out", type=FILE, default="avatar.png", show_default=True, help="Where the PNG is written.")
@click.option(
    "--timeout-s", type=Number(1, 86_400), default=600.0, show_default=True, help="How long to wait for it."
)
def try_(prompt: str, url: str, key: str, out: Path, timeout_s: float, **wished: Any) -> None:
    """Have a running server draw PROMPT, and show it.

    Terminals that show pictures show it, and everywhere it is a file.
    """
    wish = Wish(
        prompt,
        model=wished["model"],
        width_px=wished["width"],
        height_px=wished["height"],
        seed=wished["seed"],
    )
    try:
        with Client(url, key) as client:
            drawn = _drawn(client, wish, timeout_s)
            client.save(drawn, out)
    except AvatarCreatorError as error:
        raise click.ClickException(str(error)) from error
    _show(out)
    click.echo(f"{out}: {drawn.width_px}x{drawn.height_px}, {drawn.model}, seed {drawn.seed}")


def _drawn(client: Client, wish: Wish, timeout_s: float) -> Generation:
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("submitting", total=None)
        submitted = client.submit(client.first_project(), wish)
        return client.wait(submitted, timeout_s=timeout_s, on_progress=lambda it: _tell(bar, task, it))


def _tell(bar: Progress, task: TaskID, progress: HowFar) -> None:
    words = progress.phase
    if progress.position is not None:
        words = f"{progress.position} in the queue"
    elif progress.step:
        words = f"step {progress.step} of {progress.steps}"
    if progress.left_s is not None:
        words += f", {progress.left_s:.0f} s left"
    bar.update(task, description=words, total=progress.steps or None, completed=progress.step)


def _show(path: Path) -> None:
    """Show an image in a terminal that shows pictures."""
    if not sys.stdout.isatty() or os.environ.get("TERM") in {None, "dumb"}:
        return
    # It asks the terminal what it can when it is imported.
    from textual_image.renderable import Image, SixelImage, TGPImage  # noqa: PLC0415

    if Image in {SixelImage, TGPImage}:
        Console().print(Image(io.BytesIO(path.read_bytes()), width=SHOWN_COLUMNS, height="auto"))
