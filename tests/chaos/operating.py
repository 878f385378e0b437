"""What an operator does meanwhile on the command line."""

import random
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from uuid import uuid4

import httpx
from sqlalchemy.exc import DBAPIError

from tests.chaos.promises import Promises
from tests.chaos.session import Account
from tests.chaos.stage import Stage
from tests.chaos.time_passing import misplace_kept_image, quarantine_stray
from tests.server.signing import bearer, signed

TRIES = 20
OF_WANTED_ALONE = 0.8
"""The share of rounds of such jobs alone."""
WELCOME = 50
EXISTS = "exists"
NEWEST_UNFINISHED = """
    SELECT id FROM generations WHERE status IN ('pending', 'processing') ORDER BY created_at DESC LIMIT 2"""

Job = Callable[[threading.Event], None]


class Operator:
    """Runs one command after another. One that was killed or found no database is repeated."""

    def __init__(
        self,
        stage: Stage,
        accounts: list[Account],
        promises: Promises,
        seed: str,
        unvisited: Callable[[], Iterable[str]],
    ) -> None:
        """unvisited: returns the crash points at which no process has died yet."""
        self._stage = stage
        self._accounts = accounts
        self._promises = promises
        self._chance = random.Random(seed)
        self._unvisited = unvisited
        self._did_all = False
        self._jobs = [
            self._grant,
            self._grant,
            self._visit,
            self._visit,
            self._user_of_a_moment,
            self._keys,
            self._seed,
            self._cancel,
            self._tier,
            self._sign_in,
            self._look,
            self._repair,
            self._purge,
            self._back_up,
        ]

    def run(self, stopped: threading.Event) -> None:
        """Do one job after another until stopped, in an order that chance chooses, but each of them.

        After the first time most rounds are of those jobs alone that come to points where no process has
        died; the others have more looks, which have several commands.
        """
        while True:
            jobs = self._jobs
            if self._did_all:
                wanted = self._wanted() if self._chance.random() < OF_WANTED_ALONE else []
                jobs = wanted or self._jobs + 3 * [self._look]
            for job in self._chance.sample(jobs, len(jobs)):
                if stopped.wait(self._chance.uniform(0.2, 1.0)) and self._did_all:
                    return
                job(stopped)
            self._did_all = True

    def _wanted(self) -> list[Job]:
        """Return the jobs whose use cases have points that are not visited."""
        left = {point.split(" | ")[1] for point in self._unvisited()}
        wanted = {
            self._grant: {"accounts/service.grant"},
            self._visit: {"accounts/authentication.welcome"},
            self._user_of_a_moment: {
                "accounts/service.register",
                "accounts/service.delete",
                "generations/deletion.delete_projects",
            },
            self._keys: {"accounts/service.create_key", "accounts/service.revoke_keys"},
            self._seed: {"entries/service.seed"},
            self._cancel: {"generations/settlement.cancel", "generations/service.unknown"},
            self._tier: {"accounts/service.set_tier", "accounts/service.set_operator"},
            self._sign_in: {"accounts/sign_in.link", "accounts/sign_in.exchange"},
            self._look: {"generations/statistics.statistics", "entries/service.examine"},
        }
        return [job for job, use_cases in wanted.items() if use_cases & left]

    def _insist(self, stopped: threading.Event, *arguments: str, unless: str | None = None) -> bool:
        """Run a command until it succeeds, or says these words; return whether it did."""
        for _ in range(TRIES):
            if self._try(*arguments, unless=unless):
                return True
            if stopped.wait(0.3):
                return False
        return False

    def _try(self, *arguments: str, unless: str | None = None) -> bool:
        """Run a command; return whether it succeeded. What it says must be no traceback."""
        try:
            done = self._stage.run(*arguments)
        except subprocess.TimeoutExpired:  # it was stopped at a point
            return False
        self._promises.count(f"command: {arguments[0]}")
        if "Traceback" in done.stderr:
            self._promises.violated(f"{' '.join(arguments[:2])}: {done.stderr[-1000:]}")
        return done.returncode == 0 or (unless is not None and unless in done.stderr)

    def _grant(self, stopped: threading.Event) -> None:
        user, reference = self._chance.choice(self._accounts), f"chaos-{uuid4().hex}"
        amount = self._chance.randint(1, 40)
        granted = self._insist(
            stopped, "credits", "grant", user.user_id, str(amount), "--reference", reference
        )
        with self._promises.lock:
            if granted:
                self._promises.grants[reference] = user.user_id, amount

    def _visit(self, stopped: threading.Event) -> None:
        """Let a user of the existing platform come for the first time."""
        user_id = f"chaos-visitor-{uuid4().hex[:12]}"
        headers = bearer(signed(user_id, email=None))
        for _ in range(TRIES):
            url = self._chance.choice(self._stage.urls)
            try:
                answer = httpx.get(f"{url}/api/credits/balance", headers=headers, timeout=20, trust_env=False)
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.is_success:
                if answer.json()["data"]["balance"] != WELCOME:
                    self._promises.violated(f"the welcome of {user_id}: {answer.text}")
                with self._promises.lock:
                    self._promises.visitors.add(user_id)
                return
            if answer is not None and answer.status_code != 503:
                self._promises.violated(f"visit: {answer.status_code} {answer.text[:300]}")
            if stopped.wait(0.3):
                return

    def _user_of_a_moment(self, stopped: threading.Event) -> None:
        user_id = f"chaos-moment-{uuid4().hex[:12]}"
        create = ("users", "create", "--id", user_id, "--credits", "7")
        if self._insist(stopped, *create, unless=EXISTS):  # created by a try whose answer was lost
            self._insist(stopped, "users", "delete", user_id)

    def _keys(self, stopped: threading.Event) -> None:
        user = self._chance.choice(self._accounts)
        self._insist(stopped, "keys", "create", user.user_id, "--label", "operator")
        for prefix in self._operator_keys(user.user_id):
            self._insist(stopped, "keys", "revoke", user.user_id, "--prefix", prefix)

    def _operator_keys(self, user_id: str) -> list[str]:
        statement = (
            "SELECT prefix FROM api_keys WHERE label = 'operator' AND revoked_at IS NULL AND user_id = :user"
        )
        try:
            rows = self._stage.ask(statement, user=user_id)
        except DBAPIError:
            return []
        return [row[0] for row in rows][:2]

    def _seed(self, stopped: threading.Event) -> None:
        """Remove an entry that the program then seeds again."""
        try:
            self._stage.change("DELETE FROM ai_models WHERE model_key LIKE '%dev-hd%'")
        except DBAPIError:
            return
        self._insist(stopped, "seed")

    def _cancel(self, stopped: threading.Event) -> None:
        try:
            rows = self._stage.ask(NEWEST_UNFINISHED)
        except DBAPIError:
            return
        if rows and self._insist(stopped, "generations", "cancel", *[row[0] for row in rows]):
            self._promises.count("cancelled by the operator")

    def _tier(self, stopped: threading.Event) -> None:
        user = self._chance.choice([account for account in self._accounts if account.tier == "basic"])
        self._insist(stopped, "users", "set-tier", user.user_id, "basic")
        self._insist(stopped, "users", "operator", user.user_id, "off")

    def _sign_in(self, stopped: threading.Event) -> None:
        """Exchange the code of a link for a key; a code that an answer was lost for may be used up."""
        user = self._chance.choice(self._accounts)
        with suppress(subprocess.TimeoutExpired):  # it was stopped at a point
            printed = self._stage.run("link", user.user_id).stdout
            code = printed.strip().partition("#code=")[2]
            for _ in range(TRIES if code else 0):
                with suppress(httpx.TransportError):
                    url = self._chance.choice(self._stage.urls)
                    answer = httpx.post(
                        f"{url}/api/sign-in", json={"code": code}, timeout=20, trust_env=False
                    )
                    if answer.status_code in (200, 401, 409):  # done, done before, or too many keys
                        return
                    if answer.status_code != 503:
                        self._promises.violated(f"sign-in: {answer.status_code} {answer.text[:300]}")
                if stopped.wait(0.3):
                    return

    def _back_up(self, stopped: threading.Event) -> None:
        """Back rows and images up; one that was killed is begun again in a new folder."""
        for _ in range(TRIES):
            folder = self._stage.folder / f"backup-{uuid4().hex[:8]}"
            done = self._try("backup", str(folder))
            shutil.rmtree(folder, ignore_errors=True)
            if done or stopped.wait(0.3):
                return

    def _repair(self, stopped: threading.Event) -> None:
        """Move an image aside that an avatar owns, and let the doctor find it, unless a sweep is quicker."""
        with suppress(OSError):  # the disk is full
            misplace_kept_image(self._stage)
        self._insist(stopped, "doctor", "--repair")

    def _purge(self, stopped: threading.Event) -> None:
        """Leave an image in quarantine, and delete what is there."""
        with suppress(OSError):  # the disk is full
            quarantine_stray(self._stage)
        self._insist(stopped, "images", "purge")

    def _look(self, stopped: threading.Event) -> None:
        """Run a command that reads; what the doctor finds in the middle of a fault does not count."""
        command = self._chance.choice([("doctor",), ("stats",), ("models",)])
        if command == ("doctor",):
            self._stage.run("doctor")
        else:
            self._insist(stopped, *command)
