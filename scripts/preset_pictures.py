"""Draws the presets' pictures with the miniature, and writes the files that the server ships.

    python -m scripts.preset_pictures [--only NAME]

Each preset is drawn as the base entry draws its prompt, with one seed after the other, until the judge finds
all that the prompt names in the picture. If no seed's picture shows everything, the first of those that show
the most is kept.
"""

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click
from PIL import Image

import catalog
from catalog.entries import shipped_entries
from catalog.presets import Preset, shipped_presets
from catalog.prompts import compose
from catalog.traits import Traits
from inference.local.backend import LocalBackend, LocalConfig
from scripts.miniature.captions import meaning
from scripts.miniature.examining import Question, draw_all
from scripts.miniature.judge import Judge, judge_pictures, load_judge
from server.images.encoding import THUMBNAIL_QUALITY, encode
from server.images.store import Variant

FOLDER: Final = Path(catalog.__file__).parent / "pictures"
BASE: Final = shipped_entries()[0]


@click.command()
@click.option("--only", default="", help="Only presets whose name contains this.")
@click.option(
    "--seeds", type=click.IntRange(min=1), default=12, show_default=True, help="Pictures to choose from."
)
def main(only: str, seeds: int) -> None:
    """Draw the pictures, and remove those of presets that are gone."""
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.jpg"):
        if not any(old.name.startswith(preset_id) for preset_id in shipped_presets()):
            old.unlink()
    judge = load_judge()
    with tempfile.TemporaryDirectory() as weights:
        backend = LocalBackend(LocalConfig("miniature", Path(weights), device="cpu"))
        for preset in shipped_presets().values():
            if only.lower() in preset.name.lower():
                draw(backend, judge, preset, seeds)
    click.echo(f"{FOLDER}: {sum(file.stat().st_size for file in FOLDER.iterdir()):,} bytes")


def draw(backend: LocalBackend, judge: Judge, preset: Preset, seeds: int) -> None:
    """Draw one preset, and write the files of the best picture."""
    wanted = requested(preset)
    prompt = compose(preset.prompt, Traits(), BASE.quality_terms)
    questions = [Question(wanted, prompt, seed) for seed in range(seeds)]
    fewest = len(wanted) + 1
    for question, picture in zip(questions, draw_all(backend, BASE, questions), strict=False):
        (verdict,) = judge_pictures(judge, [picture])
        missed = [name for name, agrees in verdict.agrees(wanted).items() if not agrees]
        if len(missed) < fewest:
            fewest = len(missed)
            write(preset, picture)
            click.echo(f"{preset.name}, seed {question.seed}, not shown: {', '.join(missed) or 'nothing'}")
        if not missed:
            break


def write(preset: Preset, picture: Image.Image) -> None:
    """Write a picture and its thumbnail as JPEG."""
    picture.save(FOLDER / f"{preset.id}-full.jpg", "JPEG", quality=THUMBNAIL_QUALITY)
    (FOLDER / f"{preset.id}-thumbnail.jpg").write_bytes(encode(picture)[Variant.THUMBNAIL])


def requested(preset: Preset) -> Mapping[str, str]:
    """Return what the preset asks the miniature for, as values of its attributes."""
    prompt, traits = preset.prompt, preset.traits
    garment = re.search(r"(?:wearing|dressed in).*? a (\S+ \S+)", prompt)
    said = {
        **dict.fromkeys(("person", "skin", "mood"), prompt),
        "hair_style": traits.hair_style,
        "hair_color": traits.hair_color,
        "eyes": traits.eye_color,
        "clothes": garment and garment[1],
        "clothes_color": garment and garment[1],
        "background": prompt.partition(" background")[0].split()[-1],
    }
    values = {name: meaning(name, text or "") for name, text in said.items()}
    values |= {name: meaning(name, prompt) or "none" for name in ("facial_hair", "glasses")}
    hidden = {
        "hair_color" if values["hair_style"] == "bald" else "",
        "eyes" if values["glasses"] == "sunglasses" else "",
    }
    return {name: value for name, value in values.items() if value is not None and name not in hidden}


if __name__ == "__main__":
    main()
