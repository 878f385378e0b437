"""Takes the pictures of the page that the documentation shows, in a real Chromium: `make screenshots`."""

import sys
import tempfile
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser

from tests.e2e.browser.chromium import MISSING, find, running
from tests.e2e.browser.visitor import Visitor
from tests.e2e.program import Program

FOLDER: Final = Path(__file__).parent.parent / "docs" / "images"
PROMPTS: Final = (
    "portrait of a woman with long red hair and glasses, blue background",
    "portrait of a man with a beard, green background",
    "portrait of a smiling woman with short black hair, dark skin, yellow background",
)
WIDE: Final = {"width": 1280, "height": 800}
PHONE: Final = {"width": 390, "height": 800}


def take(browser: Browser, program: Program, folder: Path) -> list[Path]:
    """Draw the prompts; return pictures of that, on a phone in the dark, of the gallery, of operating."""
    context = browser.new_context(viewport=WIDE)
    visitor = Visitor(context.new_page())
    visitor.page.goto(program.demo["link"])
    for prompt in PROMPTS:
        visitor.image_of(visitor.draw(prompt))
    files = [folder / f"page-{name}.png" for name in ("create", "phone", "gallery", "operate")]
    visitor.page.evaluate("scrollTo(0, 0)")
    visitor.page.screenshot(path=files[0])
    visitor.page.emulate_media(color_scheme="dark")
    visitor.page.set_viewport_size(PHONE)
    visitor.page.evaluate("scrollTo(0, 0)")
    visitor.page.screenshot(path=files[1])
    visitor.page.emulate_media(color_scheme="light")
    visitor.page.set_viewport_size(WIDE)
    visitor.go("Gallery")
    visitor.page.get_by_role("main").locator("img").nth(len(PROMPTS) - 1).evaluate("image => image.decode()")
    visitor.page.screenshot(path=files[2])
    visitor.go("Operate")
    visitor.sees("Seconds by stage")
    visitor.page.screenshot(path=files[3])
    context.close()
    return files


def main() -> None:
    """Draw with a program of its own in a new data folder, and write the pictures."""
    found = find()
    if found is None:
        sys.exit(MISSING)
    with tempfile.TemporaryDirectory() as temporary, running(found) as browser:
        program = Program(Path(temporary) / "data", Path(temporary) / "models")
        try:
            program.start_json()
            files = take(browser, program, FOLDER)
            program.stop()
        finally:
            program.abandon()
    sys.stdout.write("".join(f"{file}\n" for file in files))


if __name__ == "__main__":
    main()
