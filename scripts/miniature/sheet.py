"""Makes contact sheets: the entries' pictures for six prompts, one row for each entry."""

from collections.abc import Sequence
from typing import Final

from PIL import Image, ImageDraw

from catalog.entries import Entry
from inference.backend import Backend
from scripts.miniature.examining import Question, draw_all

PROMPTS: Final = (
    "portrait of a woman with long red hair and glasses, blue background",
    "professional headshot of a businesswoman, blonde bun, serious, gray background",
    "a smiling man with a black beard, green hoodie, yellow background",
    "surprised girl, curly brown hair, dark skin, purple sweater, teal background",
    "bald man in sunglasses and a navy suit, orange background",
    "sad boy with short blue hair, white t-shirt, pink background",
)
_SIDE_PX: Final = 192
_GAP_PX: Final = 6
_LABEL_PX: Final = 16


def contact_sheet(backend: Backend, entries: Sequence[Entry], *, seed: int = 7) -> Image.Image:
    """Draw every prompt with every entry, all with the same seed."""
    prompts = [Question({}, prompt, seed) for prompt in PROMPTS]  # no attributes, because nothing is judged
    width = len(prompts) * (_SIDE_PX + _GAP_PX) - _GAP_PX
    height = len(entries) * (_SIDE_PX + _LABEL_PX + _GAP_PX) - _GAP_PX
    sheet = Image.new("RGB", (width, height), "white")
    for row, entry in enumerate(entries):
        top = row * (_SIDE_PX + _LABEL_PX + _GAP_PX)
        label = f"{entry.name}, {entry.width_px}x{entry.height_px}, {entry.steps} steps"
        ImageDraw.Draw(sheet).text((0, top), label, fill="black")
        for column, picture in enumerate(draw_all(backend, entry, prompts)):
            small = picture.resize((_SIDE_PX, _SIDE_PX), Image.Resampling.LANCZOS)
            sheet.paste(small, (column * (_SIDE_PX + _GAP_PX), top + _LABEL_PX))
    return sheet
