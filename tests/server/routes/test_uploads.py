import json
from io import BytesIO

import pytest
from PIL import Image
from sqlalchemy import func, select

from catalog.tiers import Tier
from server.avatars.tables import Avatar
from server.errors import DatabaseAway
from server.images.links import ROUTE
from server.routes.uploads import MAX_IMAGE_BYTES, RULES, UploadBody
from server.uploads import service
from tests.databases import ONE_DATABASE
from tests.server.conftest import PREFIX
from tests.server.uploads import files

PNG = files.valid()["PNG"]
INVALID = "VALIDATION_ERROR"
PREFIXES = ["/api/avatar-creator", "/api/apps/avatar-creator"]
TRAITS = {
    "personaName": "Ada",
    "personaAge": "36",
    "personaPersonality": '["calm", "kind"]',
    "personaBackground": "Wrote the first program",
    "gender": "female",
    "ageRange": "adult",
    "hairColor": "brown",
}
BAD_TEXTS = {
    "name": ["", "  ", "n" * 101, "A\0da"],
    "personaName": ["n" * 101, "n\0"],
    "personaAge": ["0", "121", "thirty", "30.0", "1e1", "-5", "9" * 5000, "\u0663\u0660", "[30]"],
    "personaPersonality": [
        "calm",
        '"calm"',
        "{}",
        "7",
        json.dumps(["c"] * 11),
        json.dumps(["c" * 51]),
        '["calm", 1]',
        '["c\\u0000"]',
        '["calm"',
        "[" * 30_000,
        "9" * 5000,
    ],
    "personaBackground": ["b" * 501],
    "gender": ["Male", "none"],
    "ageRange": ["old"],
    **{
        word: ["w" * 51, "w\0"]
        for word in ("ethnicity", "bodyType", "hairStyle", "hairColor", "eyeColor", "skinTone", "style")
    },
}
BOUNDARY = "b0undary"


def part(name, content=b"", filename=None, **headers):
    """Return one part of a form."""
    disposition = f'form-data; name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
    lines = {"Content-Disposition": disposition} | headers
    head = "".join(f"{header}: {value}\r\n" for header, value in lines.items()).encode()
    return f"--{BOUNDARY}\r\n".encode() + head + b"\r\n" + content + b"\r\n"


def form(*parts, end=b"--b0undary--\r\n"):
    """Return the body of a form."""
    return b"".join(parts) + end


NAME, IMAGE = part("name", b"Ada"), part("image", PNG, "ada.png")
BAD_FORMS = {
    "nothing": (b"", "image"),
    "no part": (form(), "image"),
    "no image": (form(NAME), "image"),
    "an empty image": (form(NAME, part("image", b"", "ada.png")), "image"),
    "no file chosen": (form(NAME, part("image", b"", "")), "image"),
    "two images": (form(NAME, IMAGE, IMAGE), "image"),
    "an image as text": (form(NAME, part("image", PNG)), "image"),
    "a name as file": (form(IMAGE, part("name", b"Ada", "name.txt")), "name"),
    "no name": (form(IMAGE), "name"),
    "two names": (form(NAME, NAME, IMAGE), "name"),
    "a name that is no UTF-8": (form(IMAGE, part("name", b"A\xff\xfeda")), "name"),
    "a name in UTF-16": (form(IMAGE, part("name", "Ada".encode("utf-16"))), "name"),
    "a file name that is no UTF-8": (
        form(NAME, part("image", PNG, "name").replace(b'"name"', b'"\xff"')),
        "image",
    ),
    "1,000 fields": (form(NAME, IMAGE, *(part(f"field{number}", b"x") for number in range(1000))), "image"),
    "too much text": (form(NAME, part("style", b"s" * 40_000), part("skinTone", b"s" * 40_000)), "skinTone"),
    "no end": (form(NAME, IMAGE, end=b""), "image"),
    "cut off in the image": (form(NAME, IMAGE)[: len(NAME) + len(IMAGE) // 2], "image"),
    "another boundary": (form(NAME, IMAGE).replace(b"b0undary", b"0ther"), "image"),
    "a part without a disposition": (form(b"--b0undary\r\nContent-Type: image/png\r\n\r\nx\r\n"), "image"),
    "a long header": (form(NAME, part("image", PNG, "x" * 10_000)), "image"),
    "many headers": (form(part("image", PNG, "a.png", **{f"X-{n}": "x" for n in range(50)})), "image"),
    "a wrong length": (form(NAME, part("image", PNG, "a", **{"Content-Length": "3"})), "image"),
    "JSON": (b'{"name": "Ada"}', "image"),
}
BAD_TYPES = [
    "multipart/form-data",
    "multipart/form-data; boundary=",
    f"multipart/form-data; boundary={'b' * 71}",
    f"multipart/mixed; boundary={BOUNDARY}",
    "application/json",
    "application/x-www-form-urlencoded",
    "image/png",
    "",
]
STRANGE_NAMES = ["../../etc/passwd", "C:\\windows\\a.png", "a\0.png", "%00.png", "a" * 3000, "", ".", "ü.png"]


@pytest.fixture
def send(api):
    """Send an upload for an account."""

    def sent(account, image=PNG, prefix=PREFIX, filename="ada.png", kind="image/png", **texts):
        return api.client.post(
            f"{prefix}/projects/{account.project_id}/avatars/upload",
            files={"image": (filename, image, kind)},
            data={"name": "Ada"} | texts,
            headers=account.headers,
        )

    return sent


@pytest.fixture
def send_body(api):
    """Send a body unchanged."""

    def sent(account, body, kind=f"multipart/form-data; boundary={BOUNDARY}", **headers):
        return api.client.post(
            f"{PREFIX}/projects/{account.project_id}/avatars/upload",
            content=body,
            headers=account.headers | {"Content-Type": kind} | headers,
        )

    return sent


@pytest.fixture
def nothing_happened(api, settings):
    """Check that there is no avatar, no file, and no credit spent."""

    def check(account, balance=100):
        with api.uow.read() as tx:
            assert tx.session.scalar(select(func.count()).select_from(Avatar)) == 0
        assert not [path for path in settings.server.images_dir.rglob("*") if path.is_file()]
        assert api.account(account) == (balance, 0)

    return check


class TestAccepted:
    @pytest.mark.parametrize("prefix", PREFIXES)
    @pytest.mark.parametrize("tier", [Tier.FREE, Tier.ENTERPRISE])
    def test_an_upload_is_an_avatar(self, api, send, make_account, prefix, tier):
        """The answer has the avatar with its project, 2 credits used and the balance; GET returns it, too."""
        account = make_account(tier)
        answer = send(account, prefix=prefix, **TRAITS)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body.keys() == {"message", "avatar", "creditUsed", "creditBalance"}
        assert (body["creditUsed"], body["creditBalance"], api.balance(account)) == (2, 98, 98)
        avatar = body["avatar"]
        assert avatar["project"] == {"id": account.project_id, "name": "Test"}
        assert (avatar["sourceType"], avatar["name"], avatar["usageCount"]) == ("uploaded", "Ada", 0)
        assert (avatar["personaAge"], avatar["personaPersonality"]) == (36, '["calm", "kind"]')
        assert {avatar[name] for name in ("generationPrompt", "seedUsed", "lastUsedAt", "style")} == {None}
        read = api.client.get(f"{prefix}/avatars/{avatar['id']}", headers=account.headers).json()["avatar"]
        assert avatar.items() >= {**read, "project": avatar["project"]}.items()

    def test_its_image_opens_without_a_header(self, api, send, make_account):
        """The stored PNG has the pixels that were sent, and the thumbnail is a JPEG of 300 by 300 pixels."""
        avatar = send(make_account()).json()["avatar"]
        answers = [api.client.get(avatar[name]) for name in ("baseImageUrl", "thumbnailUrl")]
        full, thumbnail = (Image.open(BytesIO(answer.content)) for answer in answers)
        assert (full.format, full.tobytes()) == ("PNG", files.picture().tobytes())
        assert (thumbnail.format, thumbnail.size) == ("JPEG", (300, 300))
        assert avatar["baseImageUrl"].startswith(ROUTE)

    def test_every_kind_of_file(self, send, make_account, subtests):
        """A valid file of every kind is accepted, whatever its name and declared type."""
        account = make_account()
        for kind, content in files.valid().items():
            with subtests.test(kind=kind):
                answer = send(account, content, filename="page.html", kind="text/html")
                assert answer.status_code == 200, answer.text

    def test_empty_fields_count_as_absent(self, send, make_account):
        """A form whose optional fields are all empty is an upload without traits."""
        avatar = send(make_account(), **dict.fromkeys(TRAITS, "")).json()["avatar"]
        assert {avatar[name] for name in TRAITS} == {None}

    def test_names_of_files_lead_nowhere(self, send_body, make_account, settings, subtests):
        """A file name with path characters, NUL or thousands of characters changes nothing."""
        account = make_account()
        for name in STRANGE_NAMES:
            with subtests.test(name=name[:30]):
                answer = send_body(account, form(NAME, part("image", PNG, name)))
                assert answer.status_code == 200, answer.text
        stored = [path for path in settings.server.images_dir.rglob("*") if path.is_file()]
        assert len(stored) == 2 * len(STRANGE_NAMES)
        assert {path.parent.name for path in stored} == {"avatars"}

    def test_a_name_of_path_characters_is_a_name(self, send, make_account):
        """The avatar's name is kept as it is, and folded as everywhere."""
        assert send(make_account(), name=" ../a\n b ").json()["avatar"]["name"] == "../a b"

    def test_unknown_fields_are_skipped(self, send_body, make_account):
        """Unknown texts, files and duplicates of them change nothing, before and after the image."""
        unknown = [part("more", b"\xff"), part("more", b"x" * 90_000), part("other", b"GIF89a", "a.gif")]
        answer = send_body(make_account(), form(*unknown, NAME, IMAGE, *unknown))
        assert answer.status_code == 200, answer.text

    def test_a_file_of_exactly_the_limit(self, send, make_account):
        """A file of 10 MB is accepted."""
        assert send(make_account(), PNG + b"\0" * (MAX_IMAGE_BYTES - len(PNG))).status_code == 200


class TestRefused:
    @ONE_DATABASE
    def test_a_bad_text_is_refused_by_its_field(self, api, send, make_account, nothing_happened, subtests):
        """A text that breaks its field's rule is refused by name, and is not repeated."""
        account = make_account()
        for field, value in ((field, value) for field, values in BAD_TEXTS.items() for value in values):
            with subtests.test(field=field, value=repr(value)[:30]):
                error = api.refused(send(account, **{field: value}), 400, INVALID, field)
                assert error["details"].keys() == {field}
                assert len(error["message"]) < 300
        nothing_happened(account)

    def test_the_rules_are_those_of_generating(self):
        """Every trait of a generation is a field of the form."""
        assert set(TRAITS) < set(RULES.texts)
        assert set(BAD_TEXTS) == set(RULES.texts)
        assert len(UploadBody.model_fields) == 14

    @ONE_DATABASE
    def test_a_bad_form_is_refused(self, api, send_body, make_account, nothing_happened, subtests):
        """A form that is incomplete, doubled, malformed or too long is refused by its field."""
        account = make_account()
        for name, (body, field) in BAD_FORMS.items():
            with subtests.test(name):
                api.refused(send_body(account, body), 400, INVALID, field)
        for kind in BAD_TYPES:
            with subtests.test(kind=kind[:40]):
                api.refused(send_body(account, form(NAME, IMAGE), kind), 400, INVALID, "image")
        nothing_happened(account)

    @ONE_DATABASE
    def test_a_bad_image_is_refused(self, api, send, make_account, nothing_happened, subtests):
        """A file of another format, damaged, or with too many pixels is refused."""
        account = make_account()
        for kind, (content, word) in files.refused().items():
            with subtests.test(kind=kind):
                error = api.refused(send(account, content), 400, INVALID, "image")
                assert word in error["message"]
        nothing_happened(account)

    @ONE_DATABASE
    def test_one_byte_too_many(self, api, send, send_body, make_account, nothing_happened):
        """A file of 10 MB and a byte, and a larger body, announced or not, are refused with the limit."""
        account = make_account()
        large = PNG + b"\0" * (MAX_IMAGE_BYTES - len(PNG) + 1)
        huge = form(NAME, part("image", large * 2, "a.png"))
        pieces = (huge[start : start + 90_000] for start in range(0, len(huge), 90_000))
        for answer in (send(account, large), send_body(account, huge), send_body(account, pieces)):
            assert str(MAX_IMAGE_BYTES) in api.refused(answer, 400, INVALID, "image")["message"]
        nothing_happened(account)

    @ONE_DATABASE
    def test_a_refusal_can_be_read_by_a_page(self, api, send_body, make_account):
        """A refused upload has the CORS headers of the front end's origin."""
        origin = {"Origin": "http://localhost:5173"}
        answer = send_body(make_account(), b"\0" * (MAX_IMAGE_BYTES * 2), **origin)
        api.refused(answer, 400, INVALID, "image")
        assert answer.headers["access-control-allow-origin"] == origin["Origin"]

    @ONE_DATABASE
    def test_it_is_refused_before_it_is_decoded(self, api, send, make_account, nothing_happened):
        """Without a token, without a project or with one credit, the file is not even looked at."""
        account, poor = make_account(), make_account(credits=1)
        gif = files.refused()["GIF"][0]
        path = f"{PREFIX}/projects/{account.project_id}/avatars/upload"
        nobody = api.client.post(path, files={"image": gif}, data={"name": "Ada"})
        api.refused(nobody, 401, "AUTHENTICATION_ERROR")
        foreign = api.client.post(path, files={"image": gif}, headers=make_account().headers)
        assert api.refused(foreign, 404, "RESOURCE_NOT_FOUND")["message"] == "Project not found"
        error = api.refused(send(poor, gif), 402, "INSUFFICIENT_CREDITS")
        assert error["message"] == "Insufficient credits. Required: 2, Available: 1"
        nothing_happened(account)


class TestIdempotency:
    def test_a_repeated_upload_is_paid_once(self, api, send_body, make_account, settings):
        """The same form with the same key, its parts in another order, gets the same answer and is free."""
        account = make_account(credits=2)
        key = {"Idempotency-Key": "once"}
        first = send_body(account, form(NAME, IMAGE), **key)
        again = send_body(account, form(IMAGE, NAME, part("style", b"")), **key)
        assert (first.status_code, first.content) == (200, again.content)
        assert again.headers["idempotency-replayed"] == "true"
        assert api.account(account) == (0, 0)
        assert len([path for path in settings.server.images_dir.rglob("*") if path.is_file()]) == 2

    def test_a_key_is_for_one_image(self, api, send_body, make_account, settings):
        """The same key with another image or another name is a 409, and leaves no file."""
        account = make_account()
        key = {"Idempotency-Key": "once"}
        assert send_body(account, form(NAME, IMAGE), **key).status_code == 200
        other = part("image", files.valid()["JPEG"], "a.jpg")
        for body in (form(NAME, other), form(part("name", b"Eve"), IMAGE)):
            api.refused(send_body(account, body, **key), 409, "CONFLICT")
        assert api.account(account) == (98, 0)
        assert len([path for path in settings.server.images_dir.rglob("*") if path.is_file()]) == 2

    def test_too_few_credits_free_the_key(self, api, send_body, make_account, nothing_happened):
        """With a key, too few credits are a 402 as well, and leave no file."""
        account = make_account(credits=1)
        api.refused(
            send_body(account, form(NAME, IMAGE), **{"Idempotency-Key": "once"}), 402, "INSUFFICIENT_CREDITS"
        )
        nothing_happened(account, balance=1)


class TestFaults:
    def test_credits_that_go_meanwhile(self, api, uow, send, make_account, settings, monkeypatch):
        """Credits that were spent while the image was decoded are a 402, and the file is gone."""
        account = make_account(credits=1)
        monkeypatch.setattr(service, "check", lambda *_: None)  # as if they were spent after the check
        api.refused(send(account), 402, "INSUFFICIENT_CREDITS")
        assert not [path for path in settings.server.images_dir.rglob("*") if path.is_file()]
        assert api.account(account) == (1, 0)

    def test_a_bug_in_the_transaction(self, api, send, make_account, nothing_happened, monkeypatch):
        """A transaction that fails takes no credits and leaves no file."""

        def fail(*_):
            raise RuntimeError("a bug")

        account = make_account()
        monkeypatch.setattr(service, "upload", fail)
        api.refused(send(account), 500, "INTERNAL_ERROR")
        nothing_happened(account)

    def test_a_lost_database_may_have_committed(self, api, send, make_account, settings, monkeypatch):
        """If the database goes away in the transaction, the files stay for the reaper to judge."""

        def lose(*_):
            raise DatabaseAway

        monkeypatch.setattr(service, "upload", lose)
        api.refused(send(make_account()), 503, "SERVICE_UNAVAILABLE")
        assert [path for path in settings.server.images_dir.rglob("*") if path.is_file()]

    def test_too_many_at_once(self, open_api, make_account):
        """An upload that finds no turn is a 503 with Retry-After and costs nothing."""
        account = make_account()
        with open_api(upload_decoders=0, upload_wait_s=0.01) as api:
            answer = api.client.post(
                f"{PREFIX}/projects/{account.project_id}/avatars/upload",
                files={"image": PNG},
                data={"name": "Ada"},
                headers=account.headers,
            )
            assert api.refused(answer, 503, "SERVICE_UNAVAILABLE")["retryAfter"] == 5
            assert api.account(account) == (100, 0)
