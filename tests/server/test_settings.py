import re
from itertools import pairwise
from pathlib import Path

import pytest

from server.settings import SettingInvalid, Settings
from server.settings.example import render
from server.settings.groups import groups

SETTING = re.compile(r"#([A-Z][A-Z0-9_]+)=(.*)")


def uncommented(text):
    """Return the variables of a file in which the # before every setting was removed."""
    return dict(setting.groups() for line in text.splitlines() if (setting := SETTING.fullmatch(line)))


def read(data_dir, **environ):
    """Read settings from the given variables alone."""
    return Settings.from_environment(data_dir, environ)


class TestFromEnvironment:
    def test_without_anything_set_all_is_local(self, tmp_path):
        """The defaults listen on this machine only and keep everything in the data folder."""
        settings = read(tmp_path)
        assert settings.database.url == f"sqlite:///{tmp_path / 'avatar-creator.db'}"
        assert (settings.server.host, settings.server.port) == ("127.0.0.1", 5000)
        assert settings.server.cors_origins == ("http://localhost:5173",)
        assert settings.worker.model_profile == "miniature"
        assert settings.redis.url is None
        assert settings.credits.welcome_credits == 100
        assert settings.tokens.session_secret is None

    def test_what_operators_know_is_read(self, tmp_path):
        """The variables of the existing product mean what they meant."""
        settings = read(
            tmp_path,
            DATABASE_URL="postgresql://me@host/db",
            REDIS_URL="redis://host:6379/1",
            CORS_ORIGIN="https://one.example, https://two.example",
            HUGGINGFACE_API_KEY="hf_x",
            FLUX_MODEL="me/flux",
            FLUX_LORA_MODEL="me/lora",
            PORT="8080",
        )
        assert settings.database.url == "postgresql://me@host/db"
        assert settings.redis.url == "redis://host:6379/1"
        assert settings.server.cors_origins == ("https://one.example", "https://two.example")
        assert (settings.hosted.api_key, settings.catalogue.flux_model) == ("hf_x", "me/flux")
        assert (settings.catalogue.flux_lora_model, settings.server.port) == ("me/lora", 8080)

    def test_the_command_line_wins_over_the_environment(self, tmp_path):
        """A folder given as an argument is taken before DATA_DIR, and DATA_DIR before the default."""
        other = str(tmp_path / "other")
        assert read(tmp_path, DATA_DIR=other).server.data_dir == tmp_path
        assert read(None, DATA_DIR=other).server.data_dir == Path(other)
        assert read(None, DATA_DIR="relative").server.data_dir.is_absolute()

    @pytest.mark.parametrize("blank", ["", "  "])
    def test_a_blank_variable_counts_as_unset(self, tmp_path, blank):
        """An empty line in an env file is no value."""
        assert read(tmp_path, PORT=blank, DATABASE_URL=blank, MODEL_PROFILE=blank) == read(tmp_path)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("PORT", "http"),
            ("PORT", "-1"),
            ("PORT", "65536"),
            ("PORT", "80.5"),
            ("WELCOME_CREDITS", "9" * 20),
            ("WELCOME_CREDITS", "many"),
            ("WELCOME_CREDITS", "nan"),
            ("LEASE_MARGIN_S", "0"),
            ("GENERATION_TIMEOUT_S", "inf"),
            ("QUEUE_MAX_DEPTH", "0"),
            ("MAX_ATTEMPTS", "0"),
            ("REAPER_PERIOD_S", "0"),
            ("ORPHAN_IMAGE_AGE_S", "1"),
            ("IMAGE_QUARANTINE_DAYS", "-1"),
            ("MODEL_PROFILE", "huge"),
            ("OFFLOAD", "some"),
            ("QUEUE_MAX_PER_USER", "0"),
            ("RATE_LIMITS", "none"),
            ("RATE_LIMIT_GENERATE", "0"),
            ("RATE_LIMIT_UPLOAD", "0/minute"),
            ("RATE_LIMIT_FROM_PRESET", "5"),
            ("RATE_LIMIT_PROJECTS", "5/week"),
            ("RATE_LIMIT_ANONYMOUS", "10000/minute"),
            ("RATE_LIMIT_FAILED_AUTHENTICATIONS", "5 per minute"),
            ("TRUSTED_PROXIES", "proxy.example"),
            ("TRUSTED_PROXIES", "10.0.0.1/8"),
            ("LOG_LEVEL", "loud"),
        ],
    )
    def test_a_bad_value_is_refused_by_name(self, tmp_path, name, value):
        """A variable that cannot be used is an error that names it, its value and its rule."""
        with pytest.raises(SettingInvalid, match=name) as refused:
            read(tmp_path, **{name: value})
        assert repr(value) in str(refused.value)
        assert refused.value.name == name

    @pytest.mark.parametrize(
        ("variables", "least"),
        [
            ({"ORPHAN_IMAGE_AGE_S": "60"}, "150"),
            ({"ORPHAN_IMAGE_AGE_S": "249", "PHASE_TIMEOUT_S": "100", "LEASE_MARGIN_S": "25"}, "250"),
            ({"PHASE_TIMEOUT_S": "1800"}, "3630"),
        ],
    )
    def test_an_orphan_is_older_than_a_settlement(self, tmp_path, variables, least):
        """ORPHAN_IMAGE_AGE_S below what a settlement may take stops the start, by its name and its limit."""
        with pytest.raises(SettingInvalid, match=f"ORPHAN_IMAGE_AGE_S must be at least {least}") as refused:
            read(tmp_path, **variables)
        assert refused.value.name == "ORPHAN_IMAGE_AGE_S"
        assert read(tmp_path, **variables | {"ORPHAN_IMAGE_AGE_S": least})

    def test_a_level_may_be_written_in_any_case(self, tmp_path):
        """LOG_LEVEL is info unless it is set, and INFO means the same."""
        assert read(tmp_path).server.log_level == "info"
        assert read(tmp_path, LOG_LEVEL="WARNING").server.log_level == "warning"

    def test_an_origin_may_have_a_wildcard_and_a_slash(self, tmp_path):
        """CORS_ORIGIN takes one label as a wildcard, any origin as *, and drops a slash at the end."""
        settings = read(tmp_path, CORS_ORIGIN="https://*.example.com, http://localhost:3000/ ,*")
        assert settings.server.cors_origins == ("https://*.example.com", "http://localhost:3000", "*")

    @pytest.mark.parametrize(
        "origin",
        [
            "example.com",
            "https://",
            "https://a.*.com",
            "https://a*.example.com",
            "https://a.example/path",
            "**",
        ],
    )
    def test_what_is_no_origin_is_refused(self, tmp_path, origin):
        """What no browser sends as its origin, or would allow more than one label, stops the start."""
        with pytest.raises(SettingInvalid, match="CORS_ORIGIN"):
            read(tmp_path, CORS_ORIGIN=f"https://app.example.com,{origin}")

    @pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL"])
    @pytest.mark.parametrize(
        "url", ["http://me:hidden-word@host", "mysql://me:hidden-word@host", "hidden-word"]
    )
    def test_a_url_of_another_kind_is_refused_without_its_password(self, tmp_path, name, url):
        """An address of something else is refused at the start, and the error repeats only its scheme."""
        with pytest.raises(SettingInvalid, match=name) as refused:
            read(tmp_path, **{name: url})
        assert "hidden-word" not in str(refused.value)


class TestSecrets:
    def test_secrets_stay_out_of_the_repr(self, tmp_path):
        """Neither the repr nor the str of settings contains a password or a key."""
        settings = read(
            tmp_path,
            DATABASE_URL="postgresql://me:hidden-word@host/db",
            REDIS_URL="redis://:hidden-word@host",
            HUGGINGFACE_API_KEY="hidden-word",
        )
        assert "hidden-word" not in repr(settings)
        assert "hidden-word" not in str(settings)

    def test_changed_settings_hide_the_database_password(self, settings):
        """The repr of changed settings shows neither the database's nor Redis's address with its password."""
        shown = repr(
            settings.changed(database_url="postgresql://u:hunter2@h/d", redis_url="redis://:hunter2@h")
        )
        assert "hunter2" not in shown


class TestSessionSecret:
    LONG = "s" * 32

    def test_both_names_are_read(self, tmp_path):
        """The secret is AUTH_JWT_SECRET, or JWT_SECRET as the old back end called it, or in a file."""
        file = tmp_path / "secret"
        file.write_text("f" * 40 + "\n")
        assert read(tmp_path, AUTH_JWT_SECRET=self.LONG).tokens.session_secret == self.LONG
        assert read(tmp_path, JWT_SECRET=self.LONG).tokens.session_secret == self.LONG
        both = read(tmp_path, JWT_SECRET="o" * 32, AUTH_JWT_SECRET=self.LONG)
        assert both.tokens.session_secret == self.LONG
        for name in ("AUTH_JWT_SECRET_FILE", "JWT_SECRET_FILE"):
            assert read(tmp_path, **{name: str(file)}).tokens.session_secret == "f" * 40

    @pytest.mark.parametrize("name", ["AUTH_JWT_SECRET", "JWT_SECRET"])
    @pytest.mark.parametrize(
        ("secret", "found"),
        [
            ("hidden-word-hidden-word-of-31-b", "31 bytes"),
            ("hidden-word", "11 bytes"),
            ("-----BEGIN PUBLIC KEY-----\nhidden-word\n-----END PUBLIC KEY-----", "cannot be printed"),
            ("hidden-word" * 4 + "\udcff", "cannot be printed"),
        ],
    )
    def test_a_weak_secret_is_refused_and_not_shown(self, tmp_path, name, secret, found):
        """A secret under 32 bytes, a PEM key or broken text is refused at the start, and never quoted."""
        with pytest.raises(SettingInvalid, match=name) as refused:
            read(tmp_path, **{name: secret})
        assert "at least 32 bytes" in str(refused.value)
        assert found in str(refused.value)
        assert "hidden-word" not in str(refused.value)

    def test_bytes_are_counted(self, tmp_path):
        """Sixteen letters of two bytes are long enough."""
        assert read(tmp_path, AUTH_JWT_SECRET="é" * 16).tokens.session_secret == "é" * 16

    def test_it_stays_out_of_the_repr(self, tmp_path):
        """Neither name of the secret is in the repr of the settings."""
        settings = read(tmp_path, AUTH_JWT_SECRET="hidden-word" * 4, JWT_SECRET="hidden-word" * 4)
        assert "hidden-word" not in repr(settings)


class TestConnectedRedis:
    def test_a_set_redis_is_taken(self, tmp_path):
        """REDIS_URL wins over the one that `up` runs."""
        (tmp_path / "redis.url").write_text("redis://embedded")
        assert read(tmp_path, REDIS_URL="redis://set").connected_redis_url() == "redis://set"

    def test_otherwise_the_one_of_the_data_folder(self, tmp_path):
        """The address that `up` wrote is read at every call; without one it is None."""
        settings = read(tmp_path)
        assert settings.connected_redis_url() is None
        settings.server.redis_url_file.write_text("")
        assert settings.connected_redis_url() is None
        settings.server.redis_url_file.write_text("redis://embedded\n")
        assert settings.connected_redis_url() == "redis://embedded"


class TestSecretFiles:
    def test_a_secret_may_lie_in_a_file(self, tmp_path):
        """NAME is read from the file that NAME_FILE names, without the newline; an empty file is no value."""
        key, empty = tmp_path / "key", tmp_path / "empty"
        key.write_text("hf_x\n")
        empty.write_text("\n")
        assert read(tmp_path, HUGGINGFACE_API_KEY_FILE=str(key)).hosted.api_key == "hf_x"
        assert read(tmp_path, HUGGINGFACE_API_KEY_FILE=str(empty)).hosted.api_key is None

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"HUGGINGFACE_API_KEY_FILE": "/nowhere/key"}, "must be a text file that can be read"),
            ({"HUGGINGFACE_API_KEY_FILE": "key", "HUGGINGFACE_API_KEY": "hf_x"}, "unset where HUGGINGFACE"),
        ],
    )
    def test_a_file_that_cannot_be_taken_is_named(self, tmp_path, changes, words):
        """A missing file, or a file beside a value, is an error that names the variable."""
        with pytest.raises(SettingInvalid, match="HUGGINGFACE_API_KEY_FILE") as caught:
            read(tmp_path, **changes)
        assert words in str(caught.value)
        assert "hf_x" not in str(caught.value)

    def test_a_password_is_put_into_the_address(self, tmp_path):
        """A separate password, also from a file, is put into the address and quoted."""
        password = tmp_path / "password"
        password.write_text("a/b@c")
        settings = read(
            tmp_path,
            DATABASE_URL="postgresql://me@host/db",
            DATABASE_PASSWORD_FILE=str(password),
            REDIS_URL="redis://host:6379/0",
            REDIS_PASSWORD="x",  # noqa: S106
        )
        assert settings.database.url == "postgresql://me:a%2Fb%40c@host/db"
        assert settings.redis.url == "redis://:x@host:6379/0"

    @pytest.mark.parametrize("url", ["", "sqlite:////tmp/x.db", "postgresql://me:one@host/db"])
    def test_a_password_without_a_place_is_refused(self, tmp_path, url):
        """Without a host, or beside another password, the error names the variable but no password."""
        with pytest.raises(SettingInvalid, match="DATABASE_PASSWORD") as caught:
            read(tmp_path, DATABASE_URL=url, DATABASE_PASSWORD="hidden-word")  # noqa: S106
        assert "hidden-word" not in str(caught.value)


class TestChanged:
    def test_by_the_variables_names(self, tmp_path):
        """Values are changed by the names of their variables, in any case, and the rest stays."""
        before = read(tmp_path)
        after = before.changed(PORT=1, hosted_timeout_s=2.5, database_url="sqlite:///x")
        assert (after.server.port, after.hosted.timeout_s, after.database.url) == (1, 2.5, "sqlite:///x")
        assert after.worker == before.worker
        assert after.server.data_dir == before.server.data_dir

    def test_an_unknown_name(self, tmp_path):
        """A name that no setting has is a KeyError."""
        with pytest.raises(KeyError):
            read(tmp_path).changed(PROT=1)


class TestBudget:
    @pytest.mark.parametrize(("value", "microusd"), [("", None), ("0", 0), ("2.5", 2_500_000)])
    def test_nothing_is_no_limit_and_zero_is_zero(self, tmp_path, value, microusd):
        """An empty budget is no limit, and one of 0 allows nothing."""
        settings = read(tmp_path, HOSTED_BUDGET_USD_PER_DAY=value, INFERENCE_BACKEND="huggingface")
        assert settings.hosted_budget_microusd == microusd

    def test_local_drawing_has_none(self, tmp_path):
        """Without hosted providers there is no budget."""
        assert read(tmp_path, HOSTED_BUDGET_USD_PER_DAY="0").hosted_budget_microusd is None


class TestRateLimits:
    def test_the_contracts_numbers_are_the_defaults(self, tmp_path):
        """Without anything set, the limits of users are the contract's."""
        rates = read(tmp_path).rate_limits.rates
        assert (rates["generate"], rates["upload"]) == ("5/minute", "10/minute")
        assert (rates["from_preset"], rates["projects"]) == ("8/minute", "20/hour")

    def test_one_or_all_can_be_taken_away(self, tmp_path):
        """A limit that is `none` is not set, and with the switch off none is."""
        one = read(tmp_path, RATE_LIMIT_UPLOAD="none", RATE_LIMIT_PROJECTS="9999/day").rate_limits
        assert one.rates.keys() == read(tmp_path).rate_limits.rates.keys() - {"upload"}
        assert one.rates["projects"] == "9999/day"
        assert read(tmp_path, RATE_LIMITS="off").rate_limits.rates == {}

    def test_proxies_are_a_list(self, tmp_path):
        """TRUSTED_PROXIES holds addresses and networks of both kinds of IP."""
        proxies = read(tmp_path, TRUSTED_PROXIES="127.0.0.1, 10.0.0.0/8,2001:db8::/32").server.trusted_proxies
        assert proxies == ("127.0.0.1", "10.0.0.0/8", "2001:db8::/32")


class TestExample:
    TEXT = (Path(__file__).parents[2] / ".env.example").read_text("utf-8")

    def test_it_is_made_of_the_declarations(self):
        """The file equals the output of `make env-example`."""
        assert render() == self.TEXT

    def test_it_has_every_setting_and_no_other(self):
        """The names in .env.example are those that the settings read."""
        declared = {group.env_name(field) for group in groups() for field in group.model_fields}
        assert set(uncommented(self.TEXT)) == declared

    def test_its_defaults_are_the_settings_own(self, tmp_path):
        """The lines without their # leave all settings at their defaults."""
        lines = uncommented(self.TEXT)
        assert read(tmp_path, **lines) == read(tmp_path)
        assert sum(bool(value) for value in lines.values()) >= 20

    def test_every_setting_is_explained(self):
        """Above the line of each setting is a sentence."""
        lines = self.TEXT.splitlines()
        bare = [line for before, line in pairwise(lines) if SETTING.match(line) and not before.endswith(".")]
        assert not bare
