import json
import logging

import pytest
from sqlalchemy import text

PREFIX = "/api/avatar-creator"
PRIVATE = "a very private portrait of my neighbour"
ABORT = "BEGIN SELECT RAISE(ABORT, 'refused by the operator'); END"
RAISE = "$$ BEGIN RAISE EXCEPTION 'refused by the operator'; END $$"
REFUSE = {
    "sqlite": [f"CREATE TRIGGER refuse BEFORE INSERT ON generations {ABORT}"],
    "postgresql": [
        f"CREATE FUNCTION refuse() RETURNS trigger AS {RAISE} LANGUAGE plpgsql",
        "CREATE TRIGGER refuse BEFORE INSERT ON generations FOR EACH ROW EXECUTE FUNCTION refuse()",
    ],
}


@pytest.fixture
def logged(log_lines):
    """Everything that is logged from here on at DEBUG, by libraries too, as one text."""
    loggers = [logging.getLogger(name) for name in ("rq", "rq.worker", "litestar", "psycopg", "alembic")]
    before = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.DEBUG)
    yield lambda: json.dumps(log_lines())
    for each, level in zip(loggers, before, strict=True):
        each.setLevel(level)


class TestSecrets:
    def test_neither_prompts_nor_tokens_are_logged(self, logged, open_api, make_account):
        """Whether a request succeeds or is refused, its prompt and its token stay out of the log."""
        account, poor = make_account(), make_account(credits=0)
        with open_api() as api:
            assert api.generate(account, prompt=PRIVATE, personaBackground=PRIVATE).status_code == 200
            api.refused(api.generate(poor, prompt=PRIVATE), 402, "INSUFFICIENT_CREDITS")
            api.refused(api.generate(account, prompt=PRIVATE, width=1), 400, "VALIDATION_ERROR", "width")
            api.refused(api.generate(account, prompt=PRIVATE * 99), 400, "VALIDATION_ERROR", "prompt")
            wrong = {"Authorization": "Bearer ac_not_a_real_token"}
            api.refused(api.client.get(f"{PREFIX}/projects", headers=wrong), 401, "TOKEN_INVALID")
        logging.getLogger("test").debug("the log is open")
        assert "the log is open" in logged()
        for secret in ("private", account.token, poor.token, "ac_not_a_real_token"):
            assert secret not in logged()

    def test_redis_away_logs_no_secret(self, logged, open_api, make_account):
        """A wake-up that cannot be sent is logged without the password of Redis or the prompt."""
        with open_api(redis_url="redis://:hidden-word@127.0.0.1:1/0") as api:
            assert api.generate(make_account(), prompt=PRIVATE).status_code == 200
        assert "wakeup.not_sent" in logged()
        for secret in ("private", "hidden-word"):
            assert secret not in logged()

    def test_a_database_error_is_logged_without_the_row(self, logged, open_api, uow, make_account, owner):
        """An error while a generation is stored is logged, and the prompt is not in its traceback."""
        account = make_account()
        with owner.begin() as tx:
            for statement in REFUSE[uow.engine.dialect.name]:
                tx.session.execute(text(statement))
        with open_api() as api:
            api.refused(api.generate(account, prompt=PRIVATE), 500, "INTERNAL_ERROR")
            assert api.account(account) == (100, 0)
        assert "refused by the operator" in logged()
        for secret in ("private", account.token):
            assert secret not in logged()
