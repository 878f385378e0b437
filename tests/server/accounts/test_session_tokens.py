import hashlib
import hmac
import json
import time

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jwt.utils import base64url_encode

from server.accounts.errors import TokenExpired, TokenInvalid
from server.accounts.identity import Identity
from server.accounts.session_tokens import LEEWAY_S, is_session_token, verify
from tests.server.signing import SESSION_SECRET, signed

NOW_S = int(time.time())
LATER_S = NOW_S + 86_400
HS256 = {"alg": "HS256", "typ": "JWT"}


def part(value):
    """Return a part of a token; a text is taken as it is."""
    text = value if isinstance(value, str) else json.dumps(value)
    return base64url_encode(text.encode()).decode()


def made(header, claims, secret=SESSION_SECRET):
    """Return a token of any header and any claims, signed by HS256 whatever the header says."""
    message = f"{part(header)}.{part(claims)}"
    digest = hmac.digest(secret.encode(), message.encode(), hashlib.sha256)
    return f"{message}.{base64url_encode(digest).decode()}"


def claiming(**changes):
    """Return a token with changes of valid claims, of any type."""
    return made(HS256, {"userId": "platform-1", "exp": LATER_S} | changes)


def refusal(token):
    """Return the class of the error by which a token is refused, None if it is accepted."""
    if not is_session_token(token):
        return TokenInvalid  # the API keys are asked for it, and none has this form
    try:
        verify(token, SESSION_SECRET)
    except (TokenInvalid, TokenExpired) as error:
        return type(error)
    return None


VALID = {
    "as the platform signs it": signed(),
    "without an email": signed(email=None),
    "expiry with a fraction": claiming(exp=LATER_S + 0.5),
    "valid since now": signed(nbf=NOW_S),
    "without a type": made({"alg": "HS256"}, {"userId": "platform-1", "exp": LATER_S}),
    "claims that nobody knows": signed(role="admin", tier="enterprise"),
    "key id": signed(header={"kid": "../../etc/passwd"}),
    "addresses of keys": signed(header={"jku": "http://127.0.0.1:9/", "x5u": "http://127.0.0.1:9/"}),
    "key of its own": signed(header={"jwk": {"kty": "oct", "k": part("s" * 32)}}),
}
HEADER, CLAIMS, SIGNATURE = signed().split(".")
OWN_CLAIMS = {"userId": "platform-1", "exp": LATER_S}
INVALID = {
    "empty": "",
    "dots": "..",
    "two parts": f"{HEADER}.{CLAIMS}",
    "four parts": f"{HEADER}.{CLAIMS}.{SIGNATURE}.{SIGNATURE}",
    "duplicate dot": f"{HEADER}..{CLAIMS}.{SIGNATURE}",
    "padding": f"{HEADER}.{CLAIMS}.{SIGNATURE}=",
    "line break": signed() + "\n",
    "non-ASCII letter": f"{HEADER}.{CLAIMS}é.{SIGNATURE}",
    "non-ASCII digit": f"{HEADER}.{CLAIMS}.{SIGNATURE[:-1]}\u0663",
    "signature of another token": f"{HEADER}.{CLAIMS}.{signed('other').rpartition('.')[2]}",
    "claims of another token": f"{HEADER}.{signed('other').split('.')[1]}.{SIGNATURE}",
    "another secret": signed(secret="another-secret-of-at-least-32-bytes"),  # noqa: S106
    "empty secret": made(HS256, OWN_CLAIMS, secret=""),
    "random signature": made(HS256, OWN_CLAIMS)[:-43] + part("x" * 32),
    "none": jwt.encode(OWN_CLAIMS, None, algorithm="none"),
    "none with a signature": made({"alg": "none"}, OWN_CLAIMS),
    "NONE with a signature": made({"alg": "NONE"}, OWN_CLAIMS),
    "HS384": signed(secret="s" * 64, algorithm="HS384"),
    "HS384 with a signature of HS256": made({"alg": "HS384"}, OWN_CLAIMS),
    "HS512 with a signature of HS256": made({"alg": "HS512"}, OWN_CLAIMS),
    "RS256 with a signature of HS256": made({"alg": "RS256"}, OWN_CLAIMS),
    "hs256": made({"alg": "hs256"}, OWN_CLAIMS),
    "no algorithm": made({"typ": "JWT"}, OWN_CLAIMS),
    "algorithm of another type": made({"alg": ["HS256"]}, OWN_CLAIMS),
    "algorithm null": made({"alg": None}, OWN_CLAIMS),
    "critical extension": made(HS256 | {"crit": ["exp"]}, OWN_CLAIMS),
    "unknown critical extension": made(HS256 | {"crit": ["urn:x"], "urn:x": 1}, OWN_CLAIMS),
    "empty critical extensions": made(HS256 | {"crit": []}, OWN_CLAIMS),
    "detached payload": made(HS256 | {"crit": ["b64"], "b64": False}, OWN_CLAIMS),
    "key id of another type": made(HS256 | {"kid": 1}, OWN_CLAIMS),
    "header is a list": made([], OWN_CLAIMS),
    "header is no JSON": made("{", OWN_CLAIMS),
    "header is nested deeply": made("[" * 2000 + "]" * 2000, OWN_CLAIMS),
    "claims are a list": made(HS256, []),
    "claims are no JSON": made(HS256, "userId=1"),
    "claims are nested deeply": made(HS256, '{"userId":' + "[" * 1500 + "]" * 1500 + "}"),
    "a token within a token": made(HS256 | {"cty": "JWT"}, signed()),
    "no user": claiming(userId=None),
    "user is a number": claiming(userId=7),
    "user is a list": claiming(userId=["platform-1"]),
    "user is empty": claiming(userId=""),
    "user is too long": claiming(userId="u" * 65),
    "user with NUL": claiming(userId="a\0b"),
    "user with half a character": made(HS256, f'{{"userId": "\\ud800", "exp": {LATER_S}}}'),
    "subject but no user": claiming(userId=None, sub="platform-1"),
    "email is a number": claiming(email=7),
    "email is a list": claiming(email=["ada@example.com"]),
    "email is too long": claiming(email="e" * 321),
    "no expiry": signed(exp=None),
    "expiry null": claiming(exp=None),
    "expiry in quotes": claiming(exp=str(LATER_S)),
    "expiry is a word": claiming(exp="never"),
    "expiry is a list": claiming(exp=[LATER_S]),
    "expiry is infinite": made(HS256, '{"userId": "platform-1", "exp": Infinity}'),
    "expiry is not a number": made(HS256, '{"userId": "platform-1", "exp": NaN}'),
    "expiry beyond all numbers": made(HS256, '{"userId": "platform-1", "exp": 1e999}'),
    "expiry with more digits than Python reads": made(HS256, f'{{"exp": {"9" * 5000}}}'),
    "not valid yet": signed(nbf=LATER_S),
    "not valid before a word": claiming(nbf="tomorrow"),
    "not valid before null": claiming(nbf=None),
    "issued in the future": signed(iat=LATER_S),
    "issued at an infinite time": made(
        HS256, f'{{"userId": "platform-1", "exp": {LATER_S}, "iat": Infinity}}'
    ),
    "for another audience": signed(aud="billing"),
    "subject of another type": claiming(sub=7),
}


class TestVerify:
    @pytest.mark.parametrize("token", VALID.values(), ids=VALID)
    def test_a_token_of_the_platform_names_its_user(self, token):
        """What the platform signed is accepted; no address or key in its header is followed."""
        assert is_session_token(token)
        assert verify(token, SESSION_SECRET).user_id == "platform-1"

    def test_user_and_email_are_read(self):
        """The identity has the user's id as it is, and the email in lower case."""
        identity = verify(signed("U-1", email="Ada@Example.com"), SESSION_SECRET)
        assert identity == Identity("U-1", "ada@example.com")

    @pytest.mark.parametrize("token", INVALID.values(), ids=INVALID)
    def test_any_other_token_is_invalid(self, token):
        """Another algorithm, form, type or secret is TokenInvalid, whatever else is right."""
        assert refusal(token) is TokenInvalid

    @pytest.mark.parametrize("ago_s", [LEEWAY_S + 1, 3600, 50 * 365 * 86_400])
    def test_an_expired_token_is_expired(self, ago_s):
        """A token whose expiry passed more than the leeway ago is TokenExpired."""
        assert refusal(signed(iat=0, exp=int(time.time()) - ago_s)) is TokenExpired

    def test_clocks_may_differ_a_little(self):
        """A token that expired a second ago, or is issued in a second, is accepted."""
        moment = int(time.time())
        assert refusal(signed(exp=moment - 1)) is None
        assert refusal(signed(iat=moment + 1, nbf=moment + 1)) is None

    def test_an_expired_forgery_is_invalid(self):
        """The signature is checked first: of a forged token nothing else is told."""
        assert refusal(signed(secret="s" * 32, exp=1)) is TokenInvalid

    def test_an_error_does_not_have_the_token(self):
        """The error keeps neither the token nor what was wrong with it."""
        with pytest.raises(TokenInvalid) as refused:
            verify(INVALID["header is a list"], SESSION_SECRET)
        assert refused.value.__cause__ is None
        assert str(refused.value) == "The token is not valid"


TEXT = st.text(alphabet=st.characters(codec="utf-8"), max_size=40)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)


@st.composite
def mutated(draw):
    """Return a valid token in which one to three characters are changed, removed, added or doubled."""
    token = VALID["as the platform signs it"]
    text = token
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text) - 1))
        end = draw(st.integers(start, min(start + 8, len(text))))
        between = draw(st.text(alphabet="ABab01-_.=+/ \n\0é", max_size=4) | st.just(text[start:end] * 2))
        text = text[:start] + between + text[end:]
    return text


class TestProperties:
    @given(mutated())
    def test_no_change_of_a_token_is_accepted(self, token):
        """A text that differs from a valid token is refused, and nothing else is raised."""
        if token != VALID["as the platform signs it"]:
            assert refusal(token) is TokenInvalid

    @given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: raw.decode("latin-1")))
    def test_no_random_text_is_accepted(self, token):
        """Random characters are refused, and nothing else is raised."""
        assert refusal(token) is TokenInvalid

    @given(header=JSON, claims=JSON)
    def test_signed_nonsense_is_refused(self, header, claims):
        """A rightly signed token of any JSON is refused, and nothing else is raised."""
        assert refusal(made(header, claims)) is TokenInvalid

    @given(JSON, st.sampled_from(["userId", "email", "exp", "nbf", "iat", "aud", "sub", "jti", "iss"]))
    def test_a_claim_of_any_type_raises_nothing_else(self, value, name):
        """A rightly signed token with a claim of any type is accepted or refused, never an error."""
        assert refusal(claiming(**{name: value})) in {None, TokenInvalid, TokenExpired}

    @given(JSON, st.sampled_from(["alg", "typ", "kid", "jku", "jwk", "x5u", "x5c", "crit", "b64", "cty"]))
    def test_a_header_of_any_type_raises_nothing_else(self, value, name):
        """A rightly signed token with a header of any type is accepted or refused, never an error."""
        assert refusal(made(HS256 | {name: value}, OWN_CLAIMS)) in {None, TokenInvalid}
