"""What a visitor does on the page, by what it shows: labels, buttons and headings."""

from playwright.sync_api import ConsoleMessage, Dialog, Locator, Page, expect

PROMPT = "portrait of a woman with long red hair and glasses"
UNFINISHED = "a thought that is not finished"
TIMES = "\N{MULTIPLICATION SIGN}"
DRAWN_S = 90
LOOK_MS = 60_000  # a busy machine; nothing waits so long that is there


class Visitor:
    """One browser window. troubles: scripts that failed or were blocked, and dialogs that markup opened."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.troubles: list[str] = []
        page.set_default_timeout(LOOK_MS)
        expect.set_options(timeout=LOOK_MS)
        page.on("pageerror", lambda error: self.troubles.append(f"error: {error}"))
        page.on("console", self._note)
        page.on("dialog", self._refuse)

    def _note(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            self.troubles.append(f"blocked: {message.text}")

    def _refuse(self, dialog: Dialog) -> None:
        self.troubles.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    @property
    def prompt(self) -> Locator:
        """The field of the prompt."""
        return self.page.get_by_label("Whom shall it show?")

    def draw(self, prompt: str = PROMPT) -> Locator:
        """Fill in the prompt and press Draw; return the card of what is drawn."""
        self.prompt.fill(prompt)
        self.page.get_by_role("button", name="Draw", exact=True).click()
        card = self.card(prompt)
        self.sees(card)
        return card

    def card(self, prompt: str = PROMPT) -> Locator:
        """Return the newest card of a prompt."""
        return self.page.get_by_role("article", name=prompt).first

    def image_of(self, card: Locator) -> Locator:
        """Wait until a card shows an image that the browser has decoded, and return it."""
        image = card.locator("img:not(.preview)")
        expect(image).to_be_visible(timeout=DRAWN_S * 1000)
        image.evaluate("image => image.decode()")
        assert image.evaluate("image => image.naturalWidth") >= 512
        return image

    def go(self, view: str) -> None:
        """Choose a view in the navigation, and wait for its heading."""
        self.page.get_by_role("navigation").get_by_role("link", name=view).click()
        self.sees(self.page.get_by_role("heading", name=view, level=1))

    def sees(self, place: Locator | str) -> Locator:
        """Wait until a place, or a text anywhere, is visible."""
        found = self.page.get_by_text(place).first if isinstance(place, str) else place
        expect(found).to_be_visible()
        return found

    def press(self, name: str) -> None:
        """Press a button."""
        self.page.get_by_role("button", name=name, exact=True).first.click()
