import pytest

from server.accounts.errors import IdentityInvalid
from server.accounts.identity import Identity


class TestIdentity:
    @pytest.mark.parametrize("user_id", ["a", "u" * 64, "507f1f77bcf86cd799439011", "Zoë 7", "7"])
    def test_an_id_keeps_its_form(self, user_id):
        """An id of the existing platform is taken as it is, up to 64 characters."""
        assert Identity.of(user_id, None) == Identity(user_id, None)

    @pytest.mark.parametrize(
        "user_id", [None, "", "u" * 65, 7, True, ["u"], {"id": "u"}, "a\0b", "\ud800", "a\n"]
    )
    def test_a_bad_id_is_refused(self, user_id):
        """An id of another type, too long, or with what cannot be printed or stored is refused."""
        with pytest.raises(IdentityInvalid, match="id must have 1 to 64"):
            Identity.of(user_id, None)

    @pytest.mark.parametrize(
        ("email", "kept"),
        [(None, None), ("", None), ("  ", None), (" Ada@Example.com ", "ada@example.com"), ("e" * 320,) * 2],
    )
    def test_an_email_is_compared_in_lower_case(self, email, kept):
        """An email loses its capitals and outer blanks; a blank one is none."""
        assert Identity.of("u", email).email == kept

    @pytest.mark.parametrize("email", ["e" * 321, "İ" * 200, 7, False, ["a@b"], "a\0@b", "\ud800@b"])
    def test_a_bad_email_is_refused(self, email):
        """An email of another type, too long, or with what cannot be printed or stored is refused."""
        with pytest.raises(IdentityInvalid, match="email must have 1 to 320"):
            Identity.of("u", email)
