"""What the page says and does, in a real browser, on a real program whose providers are simulated."""

import json

import pytest
from playwright.sync_api import expect

from catalog.tiers import Tier
from server.accounts import service as accounts
from server.accounts.tables import ApiKey
from server.clock import now
from tests.e2e.browser.visitor import PROMPT, TIMES, UNFINISHED

pytestmark = pytest.mark.e2e

XSS = (
    "<img src=x onerror=alert(1)>",
    "<script>window.hacked=1</script>",
    '"><svg onload=alert(2)>',
    "javascript:alert(3)",
    "{{constructor.constructor('alert(4)')()}}",
    "${alert(5)}</textarea><iframe srcdoc='<script>parent.hacked=1</script>'>",
)


@pytest.fixture(scope="class")
def program(start_hosted):
    """A program that limits generations to four a minute, and nothing else that these tests reach."""
    running = start_hosted(
        RATE_LIMITS="on",
        RATE_LIMIT_GENERATE="4/minute",
        RATE_LIMIT_ANONYMOUS="none",
        RATE_LIMIT_QUOTES="none",
    )
    yield running
    running.stop()


@pytest.fixture
def drawn(visit, link):
    """A visitor who has had one avatar drawn."""
    visitor = visit(link(Tier.BASIC))
    visitor.image_of(visitor.draw())
    return visitor


def client_of(program, visitor):
    """Return a client of the API with the page's own key."""
    session = json.loads(visitor.page.evaluate("localStorage.getItem('avatar-creator.session')"))
    projects = visitor.page.evaluate(
        "token => fetch('/api/avatar-creator/projects', {headers: {Authorization: 'Bearer ' + token}})"
        ".then(answer => answer.json())",
        session["token"],
    )
    return program.user(session["token"], projects["projects"][0]["id"])


class TestPage:  # one class, and so one program for all of them
    @pytest.mark.parametrize("path", ["/docs", "/schema"])
    def test_the_documentation(self, program, visit, path):
        """The API's description is drawn from this server alone, and a request is sent from there."""
        visitor = visit(program.url + path)
        elsewhere = []
        visitor.page.on(
            "request", lambda request: request.url.startswith(program.url) or elsewhere.append(request.url)
        )
        visitor.page.reload()
        operation = visitor.page.locator("#operations-presets-presets_list_all")
        visitor.sees(operation).click()
        operation.get_by_role("button", name="Execute").click()
        visitor.sees(operation.get_by_text("Boardroom Leader").first)
        assert elsewhere == []

    def test_by_a_key(self, program, visit):
        """A pasted key signs in and out; a wrong one is refused in words."""
        key = accounts.create_key(program.uow, "demo", "pasted").key.token
        visitor = visit()
        field = visitor.page.get_by_label("API key")
        field.fill("ac_wrong")
        visitor.press("Sign in")
        visitor.sees("Your key is not valid, or was revoked.")
        field.fill(key)
        visitor.press("Sign in")
        visitor.sees("Binding price: 8 of your 1000 credits")
        visitor.press("Sign out")
        visitor.sees("Turn a sentence into an avatar")
        assert visitor.page.evaluate("JSON.stringify(localStorage)").count(key) == 0

    def test_signing_out_revokes_the_key_of_a_link(self, program, visit, link):
        """The key that a link gave a browser is worth nothing after signing out."""
        visitor = visit(link())
        visitor.sees("Binding price")
        user = client_of(program, visitor)
        with visitor.page.expect_response(lambda answer: "/api/keys/" in answer.url):
            visitor.press("Sign out")
        assert user.client.get("/api/credits/balance").status_code == 401

    def test_a_key_that_is_revoked_while_the_page_is_open(self, program, visit, link):
        """The page says that the key was revoked, and what was typed is there after signing in again."""
        address = link()
        visitor = visit(address)
        visitor.sees("Binding price")
        visitor.prompt.fill(UNFINISHED)
        user = client_of(program, visitor)
        for key in user.client.get("/api/keys").json()["keys"]:
            user.client.delete(f"/api/keys/{key['id']}")
        visitor.press("Draw")
        visitor.sees("Your key is not valid, or was revoked. Sign in again.")
        visitor.page.goto(link())
        expect(visitor.prompt).to_have_value(UNFINISHED)

    def test_a_key_that_expires_while_the_page_is_open(self, program, visit, link):
        """The page says that the key has expired, and what was typed is there after signing in again."""
        visitor = visit(link())
        visitor.sees("Binding price")
        visitor.prompt.fill(UNFINISHED)
        key_id = json.loads(visitor.page.evaluate("localStorage.getItem('avatar-creator.session')"))["keyId"]
        with program.uow.begin() as tx:
            tx.session.get(ApiKey, key_id).expires_at = now()
        visitor.press("Draw")
        visitor.sees("Your key has expired. Sign in again.")
        visitor.page.goto(link())
        expect(visitor.prompt).to_have_value(UNFINISHED)

    def test_too_few_credits(self, visit, link):
        """Before and after Draw the page says what is missing, and nothing is spent."""
        visitor = visit(link(Tier.FREE, 3))
        visitor.sees("This costs 8 credits and you have 3")
        visitor.prompt.fill(PROMPT)
        visitor.press("Draw")
        visitor.sees(
            "Insufficient credits. Required: 8, Available: 3. Nothing was drawn and nothing was spent."
        )
        visitor.sees("3 credits")

    def test_too_short_a_prompt(self, visit, link):
        """A prompt that is too short is named at its field, which has the focus."""
        visitor = visit(link())
        visitor.sees("Binding price")
        visitor.press("Draw")
        field = visitor.prompt
        expect(field).to_be_focused()
        expect(field).to_have_attribute("aria-invalid", "true")
        visitor.sees("Describe whom to draw in at least 10 characters.")

    def test_an_impossible_size(self, visit, link):
        """The server's own words about a size are beside its fields."""
        visitor = visit(link())
        visitor.page.get_by_role("radio", name="Custom").check()
        visitor.page.get_by_label("Width").fill("513")
        visitor.sees("width must be a multiple of 16")

    def test_too_many(self, visit, link):
        """The fifth generation within a minute is refused with the seconds to wait."""
        visitor = visit(link(Tier.BASIC))
        for number in range(4):
            visitor.image_of(visitor.draw(f"{PROMPT}, number {number}"))
        visitor.prompt.fill(f"{PROMPT}, number 5")
        visitor.press("Draw")
        text = visitor.sees("at most 4 generations per minute").inner_text()
        assert "Try again in" in text

    def test_beyond_the_tier(self, visit, link):
        """A model that was chosen when the tier was higher is refused in words; its card says why."""
        visitor = visit(link())
        visitor.sees("It needs the pro tier; this account is free")
        visitor.page.evaluate(
            "localStorage.setItem('avatar-creator.draft',"
            " JSON.stringify({prompt: '', modelKey: 'avatar-creator:flux-dev-hd-realism'}))"
        )
        visitor.page.reload()
        visitor.sees("Choose another model.")

    def test_a_service_that_is_unavailable(self, visit, link):
        """What the API answers while its queue is full is said with the seconds to wait."""
        visitor = visit(link())
        visitor.sees("Binding price")
        refusal = {
            "message": "The queue is full",
            "code": "SERVICE_UNAVAILABLE",
            "statusCode": 503,
            "retryAfter": 7,
        }
        body = {"success": False, "message": "The queue is full", "error": refusal, "requestId": "r"}
        visitor.page.route("**/avatars/generate", lambda route: route.fulfill(status=503, json=body))
        visitor.prompt.fill(PROMPT)
        visitor.press("Draw")
        visitor.sees("The service cannot take this at the moment. Nothing was spent. Try again in 7 s.")

    def test_a_failed_generation(self, visit, link, box):
        """A provider that refuses is said in words, with the credits that came back."""
        for provider in ("fal-ai", "replicate", "hf-inference"):
            box.will(provider, lambda conversation: conversation.say(400, {"error": "NSFW content"}))
        visitor = visit(link())
        visitor.sees("Binding price")
        visitor.draw()
        visitor.sees("It could not be drawn.")
        visitor.sees("8 credits given back.")
        box.faults.clear()

    def test_offline(self, visit, link):
        """Without a network the page says so; when it is back, so is the page, by itself."""
        visitor = visit(link())
        visitor.sees("Binding price")
        visitor.page.context.set_offline(True)
        visitor.sees("You are offline.")
        visitor.page.context.set_offline(False)
        expect(visitor.page.get_by_text("You are offline.")).to_be_hidden()
        visitor.image_of(visitor.draw())

    def test_the_record(self, drawn):
        """An avatar's record tells what it was made with and what it cost."""
        drawn.go("Gallery")
        drawn.page.get_by_role("listitem").get_by_role("button").click()
        record = drawn.page.get_by_role("dialog")
        drawn.sees(record.get_by_text("12 credits"))
        facts = dict(
            zip(record.locator("dt").all_inner_texts(), record.locator("dd").all_inner_texts(), strict=True)
        )
        assert facts["Prompt"] == PROMPT
        assert facts["LoRA"] == "XLabs-AI/flux-RealismLora at 0.9"
        assert (facts["Steps"], facts["Guidance"], facts["Size"]) == ("30", "3.5", f"768 {TIMES} 768")
        assert facts["Drawn by"] == "fal-ai"
        assert facts["Seed"].isdigit()
        assert {"Took", "Made", "Weights", "Project"} <= facts.keys()
        with drawn.page.expect_download() as download:
            record.get_by_role("link", name="Download").click()
        assert download.value.suggested_filename.endswith(".png")
        record.get_by_role("button", name="Again with this seed").click()
        drawn.sees(f"seed {facts['Seed']}")
        drawn.sees(f"FLUX.1-dev + Realism LoRA, 768 {TIMES} 768")

    def test_editing_and_deleting(self, drawn):
        """An avatar is renamed and, after a question, deleted; the focus is never lost in between."""
        drawn.go("Gallery")
        page = drawn.page
        page.get_by_role("listitem").get_by_role("button").click()
        drawn.press("Rename")
        page.get_by_label("Name of the avatar").fill("Ada Lovelace")
        drawn.press("Save")
        drawn.sees(page.get_by_role("heading", name="Ada Lovelace"))
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        page.get_by_role("listitem").get_by_role("button", name="Ada Lovelace").click()
        drawn.press("Delete")
        drawn.sees("Its image is deleted for good.")
        drawn.press("Delete avatar")
        drawn.sees("Ada Lovelace is deleted.")
        expect(page.get_by_role("heading", name="Gallery")).to_be_focused()
        drawn.sees("No avatars here yet")

    def test_projects(self, drawn):
        """A project is made, chosen, renamed and deleted with what is in it."""
        drawn.go("Gallery")
        page = drawn.page
        drawn.press("New project")
        page.get_by_role("textbox", name="Name").fill("Team")
        drawn.press("Save")
        drawn.press("Team")
        drawn.sees("No avatars here yet")
        drawn.press("Rename project")
        page.get_by_role("textbox", name="Name").fill("Our team")
        drawn.press("Save")
        drawn.press("My avatars")
        drawn.sees(page.get_by_role("listitem"))
        drawn.press("Delete project")
        drawn.sees("Its 1 avatar and their images are deleted with it, for good.")
        page.get_by_role("dialog").get_by_role("button", name="Delete project").click()
        drawn.sees("No avatars here yet")

    def test_the_ledger(self, drawn):
        """Credits are shown as what was granted, taken and left."""
        drawn.go("Credits")
        rows = drawn.page.get_by_role("row")
        expect(rows).to_have_count(3)
        assert "taken" in rows.nth(1).inner_text()
        assert "\N{MINUS SIGN}12" in rows.nth(1).inner_text()
        assert "granted" in rows.nth(2).inner_text()

    def test_markup_is_text_wherever_it_is_shown(self, program, visit, link):
        """Markup in every field that a user fills is shown as it was typed, and none of it runs."""
        visitor = visit(link(Tier.BASIC))
        visitor.sees("Binding price")
        user = client_of(program, visitor)
        user.client.put(f"/api/avatar-creator/projects/{user.project_id}", json={"name": XSS[0]})
        short = {"hairColor": XSS[0], "eyeColor": XSS[1], "style": XSS[2], "ethnicity": XSS[3]}
        persona = {"personaName": XSS[4], "personaBackground": XSS[5], "personaPersonality": list(XSS[:3])}
        name = " ".join(XSS[:2])
        wish = {"name": name, "prompt": " ".join(XSS), **short, **persona}
        user.ended(user.generate(**wish)["generation"]["id"])
        avatar = user.get("avatars")["avatars"][0]
        user.post(f"avatars/{avatar['id']}/usage", appId="x", appName=XSS[0], action="view")

        visitor.page.reload()
        visitor.card(XSS[0])
        visitor.page.get_by_text("Name, project and seed").click()
        visitor.sees(visitor.page.get_by_label("Project"))
        visitor.draw(" ".join(XSS))
        visitor.go("Gallery")
        visitor.sees(visitor.page.get_by_role("button", name=XSS[0], exact=True))
        visitor.page.get_by_role("listitem").get_by_role("button", name=name).first.click()
        record = visitor.page.get_by_role("dialog")
        visitor.sees(record.get_by_text(f"1 time: {XSS[0]} 1"))
        assert record.locator("dd").first.inner_text() == " ".join(XSS)
        record.get_by_role("button", name="Again with this seed").click()
        expect(visitor.prompt).to_have_value(" ".join(XSS))
        visitor.go("Credits")
        assert visitor.page.evaluate("window.hacked") is None
        assert visitor.page.locator("iframe, script:not([src]), img[src=x]").count() == 0
