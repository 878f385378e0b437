import json
from io import BytesIO

import pytest
from PIL import Image

from catalog.presets import Category, shipped_presets
from catalog.tiers import Tier
from server.routes.generation_bodies import GenerateBody
from server.scheduling.wakeups import open_queue
from tests.databases import ONE_DATABASE

PREFIXES = ["/api/avatar-creator", "/api/apps/avatar-creator"]
PREFIX = PREFIXES[0]
PRESETS = list(shipped_presets().values())
PERSONA = {"personaName", "personaAge", "personaPersonality", "personaBackground"}
LOOKS = {
    *("gender", "ageRange", "ethnicity", "bodyType", "hairStyle", "hairColor"),
    *("eyeColor", "skinTone", "style"),
}


def draw(api, account, prefix=PREFIX, **body):
    """Request an avatar from the first preset."""
    path = f"{prefix}/projects/{account.project_id}/avatars/from-preset"
    return api.client.post(path, json={"presetId": PRESETS[0].id} | body, headers=account.headers)


@ONE_DATABASE
class TestRead:
    @pytest.mark.parametrize("prefix", PREFIXES)
    def test_anybody_may_list(self, api, prefix):
        """Without a token all presets are listed, the most popular first, and each can be read alone."""
        listed = api.client.get(f"{prefix}/presets").json()["presets"]
        assert [preset["id"] for preset in listed] == [preset.id for preset in PRESETS]
        for preset in listed:
            assert api.client.get(f"{prefix}/presets/{preset['id']}").json() == {"preset": preset}

    def test_a_preset_has_every_field_of_the_contract(self, api):
        """A preset has the contract's fields, and its persona and looks again as JSON text."""
        preset = api.client.get(f"{PREFIX}/presets/{PRESETS[0].id}").json()["preset"]
        assert preset.keys() == PERSONA | LOOKS | {
            *("id", "name", "description", "category", "imageUrl", "thumbnailUrl", "previewImageUrl"),
            *("generationPrompt", "personaTemplate", "visualAttributes", "isPublic", "usageCount"),
            *("popularity", "createdAt", "updatedAt"),
        }
        assert all(value is not None for value in preset.values())
        assert (preset["isPublic"], preset["usageCount"]) == (True, 0)
        assert (preset["generationPrompt"], preset["category"]) == (PRESETS[0].prompt, PRESETS[0].category)
        assert (preset["createdAt"][-1], preset["updatedAt"][-1]) == ("Z", "Z")
        persona, looks = json.loads(preset["personaTemplate"]), json.loads(preset["visualAttributes"])
        assert persona["personaPersonality"] == json.loads(preset["personaPersonality"])
        assert {**persona, "personaPersonality": preset["personaPersonality"]} == {
            name: preset[name] for name in PERSONA
        }
        assert looks == {name: preset[name] for name in LOOKS}

    @pytest.mark.parametrize("category", Category)
    def test_a_category(self, api, category):
        """A category lists its presets alone."""
        listed = api.client.get(f"{PREFIX}/presets", params={"category": category}).json()["presets"]
        expected = [preset.id for preset in PRESETS if preset.category is category]
        assert [preset["id"] for preset in listed] == expected

    @pytest.mark.parametrize("category", ["music", "", "Sports"])
    def test_no_such_category(self, api, category):
        """Another category is refused, and the error names the field and the five there are."""
        answer = api.client.get(f"{PREFIX}/presets", params={"category": category})
        error = api.refused(answer, 400, "VALIDATION_ERROR", "category")
        assert error["message"].endswith("professional, casual, sports, fashion, traditional")

    @pytest.mark.parametrize("preset_id", ["none", "67b9c63b-0000-4212-8b43-cb572e813898", "é" * 300])
    def test_no_such_preset(self, api, preset_id):
        """An id that no preset has, malformed or not, is not found."""
        error = api.refused(api.client.get(f"{PREFIX}/presets/{preset_id}"), 404, "RESOURCE_NOT_FOUND")
        assert error["message"] == "Preset not found"


@ONE_DATABASE
class TestPictures:
    def test_an_img_tag_can_open_them(self, api):
        """The pictures are served without a token, in their sizes, to be cached for a year."""
        preset = api.client.get(f"{PREFIX}/presets/{PRESETS[0].id}").json()["preset"]
        assert preset["previewImageUrl"] == preset["imageUrl"]
        for path, side_px in ((preset["imageUrl"], 512), (preset["thumbnailUrl"], 300)):
            assert path.startswith("/uploads/avatar-creator/presets/")
            answer = api.client.get(path)
            assert answer.status_code == 200
            assert Image.open(BytesIO(answer.content)).size == (side_px, side_px)
            assert answer.headers["content-type"] == "image/jpeg"
            assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"

    @pytest.mark.parametrize(
        "name", ["none.jpg", "..%2fpresets.toml", "..%5c..%5cpresets.toml", "%2e%2e/presets.toml", "a" * 2000]
    )
    def test_no_other_file_is_served(self, api, name):
        """A path that is no picture's is not found."""
        answer = api.client.get(f"/uploads/avatar-creator/presets/{name}")
        assert answer.status_code == 404
        assert answer.json()["success"] is False


class TestFromPreset:
    @pytest.mark.parametrize("prefix", PREFIXES)
    def test_a_preset_is_queued(self, api, make_account, own_redis, prefix):
        """The answer has the shape of generate's, a worker is woken, and the preset's use is counted."""
        account = make_account(Tier.PRO)
        answer = draw(api, account, prefix)
        assert answer.status_code == 200, answer.text
        accepted = answer.json()
        assert accepted.keys() == {"message", "generation", "creditUsed", "creditBalance", "note"}
        assert (accepted["creditUsed"], accepted["creditBalance"]) == (15, 85)
        assert (accepted["generation"]["prompt"], accepted["generation"]["status"]) == (
            PRESETS[0].prompt,
            "pending",
        )
        assert api.woken(1) == 1
        (job,) = open_queue(own_redis).get_jobs()
        assert job.args == [accepted["generation"]["id"]]
        assert api.client.get(f"{prefix}/presets/{PRESETS[0].id}").json()["preset"]["usageCount"] == 1

    def test_the_same_key_spends_once(self, api, make_account):
        """Sent twice under one Idempotency-Key, a request is paid and counted once, with one answer."""
        account = make_account()
        path = f"{PREFIX}/projects/{account.project_id}/avatars/from-preset"
        first, again = (
            api.client.post(
                path, json={"presetId": PRESETS[0].id}, headers=account.headers | {"Idempotency-Key": "once"}
            )
            for _ in range(2)
        )
        assert (first.status_code, again.content) == (200, first.content)
        assert (api.generations(), api.balance(account)) == (1, 92)
        assert api.client.get(f"{PREFIX}/presets/{PRESETS[0].id}").json()["preset"]["usageCount"] == 1

    def test_a_user_is_limited(self, open_api, make_account):
        """The ninth request within a minute is refused, and holds nothing."""
        account = make_account()
        with open_api(rate_limits="on") as api:
            assert [draw(api, account).status_code for _ in range(8)] == [200] * 8
            api.refused(draw(api, account), 429, "RATE_LIMIT_EXCEEDED")
            assert api.generations() == 8

    def test_every_preset_could_have_been_typed(self):
        """Every preset keeps the rules of a request of generate, its texts folded already."""
        for preset in PRESETS:
            persona = {name: value for name, value in preset.traits.to_json().items() if value is not None}
            persona["persona_personality"] = list(persona["persona_personality"])
            body = GenerateBody.model_validate(
                {"name": preset.name, "prompt": preset.prompt, **persona}, by_name=True
            )
            assert (body.name, body.prompt, body.traits()) == (preset.name, preset.prompt, preset.traits)

    @ONE_DATABASE
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *(("presetId", value) for value in (None, 5, [], {}, "a\0")),
            *(("customName", value) for value in ("", "  ", "n" * 101, 5, ["Ada"], "a\0")),
        ],
    )
    def test_a_bad_body_is_refused(self, api, make_account, field, value):
        """A field that breaks its rule is refused with its name, and nothing happens."""
        account = make_account()
        api.refused(draw(api, account, **{field: value}), 400, "VALIDATION_ERROR", field)
        api.nothing_happened(account)

    @pytest.mark.parametrize("preset_id", ["", "none", "67b9c63b-0000-4212-8b43-cb572e813898"])
    def test_no_such_preset(self, api, make_account, preset_id):
        """A presetId that no preset has, malformed or not, is not found, and nothing happens."""
        account = make_account()
        error = api.refused(draw(api, account, presetId=preset_id), 404, "RESOURCE_NOT_FOUND")
        assert error["message"] == "Preset not found"
        api.nothing_happened(account)

    def test_anothers_project(self, api, make_account):
        """Another user's project is not found."""
        account, other = make_account(), make_account()
        path = f"{PREFIX}/projects/{other.project_id}/avatars/from-preset"
        answer = api.client.post(path, json={"presetId": PRESETS[0].id}, headers=account.headers)
        assert api.refused(answer, 404, "RESOURCE_NOT_FOUND")["message"] == "Project not found"
        api.nothing_happened(account)

    def test_without_a_token(self, api, make_account):
        """Drawing from a preset, unlike reading it, needs a token."""
        path = f"{PREFIX}/projects/{make_account().project_id}/avatars/from-preset"
        api.refused(api.client.post(path, json={"presetId": PRESETS[0].id}), 401, "AUTHENTICATION_ERROR")

    def test_too_few_credits(self, api, make_account):
        """Who cannot pay the entry of the tier is refused with its price."""
        account = make_account(Tier.BASIC, credits=11)
        error = api.refused(draw(api, account), 402, "INSUFFICIENT_CREDITS")
        assert error["message"] == "Insufficient credits. Required: 12, Available: 11"
        api.nothing_happened(account, balance=11)
