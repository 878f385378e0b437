import re
from pathlib import Path

import pytest

from server.settings import SettingInvalid, Settings


def read(data_dir, **environ):
    """Read settings from an environment of one's own."""
    return Settings.from_environment(data_dir, environ)


class TestFromEnvironment:
    def test_without_anything_set_all_is_local(self, tmp_path):
        """The defaults listen on this machine only and keep everything in the data folder."""
        settings = read(tmp_path)
        assert settings.database_url == f"sqlite:///{tmp_path / 'avatar-creator.db'}"
        assert (settings.host, settings.port) == ("127.0.0.1", 5000)
        assert settings.cors_origins == ("http://localhost:5173",)
        assert settings.model_profile == "miniature"
        assert settings.redis_url is None
        assert settings.welcome_credits == 0

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
        assert settings.database_url == "postgresql://me@host/db"
        assert settings.redis_url == "redis://host:6379/1"
        assert settings.cors_origins == ("https://one.example", "https://two.example")
        assert (settings.huggingface_api_key, settings.flux_model) == ("hf_x", "me/flux")
        assert (settings.flux_lora_model, settings.port) == ("me/lora", 8080)

    def test_the_command_line_wins_over_the_environment(self, tmp_path):
        """A folder given as an argument is taken before DATA_DIR, and DATA_DIR before the default."""
        other = str(tmp_path / "other")
        assert read(tmp_path, DATA_DIR=other).data_dir == tmp_path
        assert read(None, DATA_DIR=other).data_dir == Path(other)
        assert read(None, DATA_DIR="relative").data_dir.is_absolute()

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
            ("RESIDENT_PIPELINES", "0"),
            ("REAPER_PERIOD_S", "0"),
            ("ORPHAN_IMAGE_AGE_S", "1"),
            ("MODEL_PROFILE", "huge"),
            ("OFFLOAD", "some"),
        ],
    )
    def test_a_bad_value_is_refused_by_name(self, tmp_path, name, value):
        """A variable that cannot be used is an error that names it, its value and its rule."""
        with pytest.raises(SettingInvalid, match=name) as refused:
            read(tmp_path, **{name: value})
        assert repr(value) in str(refused.value)
        assert refused.value.name == name

    @pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL"])
    @pytest.mark.parametrize(
        "url", ["http://me:hidden-word@host", "mysql://me:hidden-word@host", "hidden-word"]
    )
    def test_a_url_of_another_kind_is_refused_without_its_password(self, tmp_path, name, url):
        """An address of something else is refused at the start, and only its scheme is told."""
        with pytest.raises(SettingInvalid, match=name) as refused:
            read(tmp_path, **{name: url})
        assert "hidden-word" not in str(refused.value)


class TestSecrets:
    def test_secrets_stay_out_of_its_repr(self, tmp_path):
        """What carries a password does not show in a log of the settings."""
        settings = read(
            tmp_path,
            DATABASE_URL="postgresql://me:hidden-word@host/db",
            REDIS_URL="redis://:hidden-word@host",
            HUGGINGFACE_API_KEY="hidden-word",
        )
        assert "hidden-word" not in repr(settings)
        assert "hidden-word" not in str(settings)


class TestConnectedRedis:
    def test_a_set_redis_is_taken(self, tmp_path):
        """REDIS_URL wins over the one that `up` runs."""
        (tmp_path / "redis.url").write_text("redis://embedded")
        assert read(tmp_path, REDIS_URL="redis://set").connected_redis_url() == "redis://set"

    def test_otherwise_the_one_of_the_data_folder(self, tmp_path):
        """The address that `up` wrote is read at every asking; without it there is none."""
        settings = read(tmp_path)
        assert settings.connected_redis_url() is None
        settings.redis_url_file.write_text("")
        assert settings.connected_redis_url() is None
        settings.redis_url_file.write_text("redis://embedded\n")
        assert settings.connected_redis_url() == "redis://embedded"


class TestSecretFiles:
    def test_a_secret_may_lie_in_a_file(self, tmp_path):
        """What NAME_FILE names is read, without the line's end, and an empty file is no value."""
        key, empty = tmp_path / "key", tmp_path / "empty"
        key.write_text("hf_x\n")
        empty.write_text("\n")
        assert read(tmp_path, HUGGINGFACE_API_KEY_FILE=str(key)).huggingface_api_key == "hf_x"
        assert read(tmp_path, HUGGINGFACE_API_KEY_FILE=str(empty)).huggingface_api_key is None

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"HUGGINGFACE_API_KEY_FILE": "/nowhere/key"}, "must be a text file that can be read"),
            ({"HUGGINGFACE_API_KEY_FILE": "key", "HUGGINGFACE_API_KEY": "hf_x"}, "unset where HUGGINGFACE"),
        ],
    )
    def test_a_file_that_cannot_be_taken_is_named(self, tmp_path, changes, words):
        """A file that is not there, or is one value too many, is an error that names the variable."""
        with pytest.raises(SettingInvalid, match="HUGGINGFACE_API_KEY_FILE") as caught:
            read(tmp_path, **changes)
        assert words in str(caught.value)
        assert "hf_x" not in str(caught.value)

    def test_a_password_is_put_into_the_address(self, tmp_path):
        """Databases get one password file as their servers do; what an address could misread is quoted."""
        password = tmp_path / "password"
        password.write_text("a/b@c")
        settings = read(
            tmp_path,
            DATABASE_URL="postgresql://me@host/db",
            DATABASE_PASSWORD_FILE=str(password),
            REDIS_URL="redis://host:6379/0",
            REDIS_PASSWORD="x",  # noqa: S106
        )
        assert settings.database_url == "postgresql://me:a%2Fb%40c@host/db"
        assert settings.redis_url == "redis://:x@host:6379/0"

    @pytest.mark.parametrize("url", ["", "sqlite:////tmp/x.db", "postgresql://me:one@host/db"])
    def test_a_password_without_a_place_is_refused(self, tmp_path, url):
        """Where there is no host, or a password already, the variable is named and no password is told."""
        with pytest.raises(SettingInvalid, match="DATABASE_PASSWORD") as caught:
            read(tmp_path, DATABASE_URL=url, DATABASE_PASSWORD="hidden-word")  # noqa: S106
        assert "hidden-word" not in str(caught.value)


class TestExample:
    ROOT = Path(__file__).parent.parent.parent

    def test_it_names_every_setting_and_no_other(self):
        """The names in .env.example are those that the settings read."""
        source = (self.ROOT / "server" / "settings.py").read_text()
        passwords = {f"{name}_PASSWORD" for name in re.findall(r'_with_password\(env, "([A-Z]+)"', source)}
        read_names = set(re.findall(r'env(?:\.get\(|, )"([A-Z_]+)"', source)) - {"DATABASE", "REDIS"}
        read_names |= passwords | {name.replace("PASSWORD", "URL") for name in passwords}
        assert {name for name, _ in self.told()} == read_names

    def test_its_defaults_are_the_settings_own(self, tmp_path):
        """Taken as they stand there, the values change nothing."""
        told = {name: value for name, value in self.told() if value}
        assert read(tmp_path, **told) == read(tmp_path)
        assert len(told) >= 20

    def told(self):
        """Each name in .env.example with its value."""
        text = (self.ROOT / ".env.example").read_text()
        return re.findall(r"^# ([A-Z_]+)=(\S*)", text, re.MULTILINE)
