from datetime import timedelta

import jwt
import pytest

from server.generations import quotes
from server.generations.quotes import Quote, QuoteRefused, Quotes

SECRET = b"s" * 32
QUOTE = Quote("user-1", "avatar-creator:flux-dev-base", 512, 768, 8)


class TestQuotes:
    def test_what_was_signed_is_read(self) -> None:
        """Another process with the same secret reads the quote that was signed."""
        quote_id, _ = Quotes(SECRET).sign(QUOTE)
        assert Quotes(SECRET).read(quote_id, "user-1") == QUOTE

    def test_it_binds_for_a_minute(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A quote that is a second younger than a minute is read, an older one is refused."""
        signer, present = Quotes(SECRET), quotes.now()
        monkeypatch.setattr(quotes, "now", lambda: present - timedelta(seconds=55))
        assert signer.read(signer.sign(QUOTE)[0], "user-1") == QUOTE
        monkeypatch.setattr(quotes, "now", lambda: present - timedelta(seconds=62))
        with pytest.raises(QuoteRefused, match="has expired"):
            signer.read(signer.sign(QUOTE)[0], "user-1")

    @pytest.mark.parametrize("secret", [b"t" * 32, SECRET])
    def test_forged(self, secret: bytes) -> None:
        """A quote that another secret signed is refused, and so is one that the bare secret signed."""
        forged = jwt.encode(vars(QUOTE) | {"exp": 2**32}, secret, "HS256")
        with pytest.raises(QuoteRefused, match="is unknown"):
            Quotes(SECRET).read(forged, "user-1")

    def test_another_users(self) -> None:
        """A quote belongs to its user."""
        quote_id, _ = Quotes(SECRET).sign(QUOTE)
        with pytest.raises(QuoteRefused, match="is unknown"):
            Quotes(SECRET).read(quote_id, "user-2")
