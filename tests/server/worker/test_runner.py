import hashlib
import threading
from dataclasses import replace
from io import BytesIO

import pytest
from obstore.exceptions import GenericError
from PIL import Image
from sqlalchemy import select

from catalog.tiers import Tier
from inference.backend import Phase
from inference.errors import AdapterMismatch, ImageFlat, OutOfMemory, WeightsMissing
from inference.scripted import Script, ScriptedBackend
from server.avatars.repository import Avatars
from server.avatars.tables import Avatar
from server.db.engine import open_engine
from server.db.unit_of_work import UnitOfWork
from server.errors import DatabaseAway
from server.generations import settlement
from server.images.store import Variant
from server.scheduling.swap_budget import SwapBudget
from server.worker.lease_guard import StopRequest

pytestmark = pytest.mark.usefixtures("books_that_balance")


class TestDelivery:
    def test_a_wakeup_becomes_an_avatar(
        self, make_account, submit_one, make_runner, uow, images, generation_of, balance_of
    ):
        """One wake-up draws one generation, stores its image and thumbnail, and takes its price."""
        account = make_account(Tier.BASIC, credits=20)
        submitted = submit_one(
            account, seed=5, width=528, height=784, personaPersonality=["calm"], eyeColor="green"
        )
        make_runner().run_next()
        ended = generation_of(submitted.id)
        assert (ended.status, ended.attempt) == ("completed", 1)
        assert balance_of(account) == 8
        with uow.read() as tx:
            avatar = Avatars(tx).owned_by(account.user_id, ended.avatar_id)
        assert (avatar.name, avatar.seed_used, avatar.eye_color) == ("Ada", 5, "green")
        assert avatar.persona_personality == '["calm"]'
        assert avatar.generation_prompt == "portrait of a person"
        full = images.read(avatar.image_key, Variant.FULL)
        assert hashlib.sha256(full).hexdigest() == avatar.image_sha256
        assert Image.open(BytesIO(full)).size == (528, 784)
        thumbnail = Image.open(BytesIO(images.read(avatar.image_key, Variant.THUMBNAIL)))
        assert (thumbnail.format, thumbnail.size) == ("JPEG", (300, 300))

    def test_the_backend_gets_the_order(self, make_account, submit_one, make_runner):
        """The backend gets the entry's model, adapter and steps, and the request's size and seed."""
        submit_one(make_account(Tier.PRO), seed=9, width=1024)
        backend = ScriptedBackend()
        make_runner(backend=backend).run_next()
        (order,) = backend.orders
        assert order.model_id == "black-forest-labs/FLUX.1-dev"
        assert (order.adapter.model_id, order.adapter.scale) == ("XLabs-AI/flux-RealismLora", 0.9)
        assert (order.steps, order.guidance_scale, order.seed) == (35, 3.5, 9)
        assert (order.width_px, order.height_px) == (1024, 1024)

    def test_a_wakeup_too_many(self, make_runner, heartbeat):
        """A wake-up for which nothing waits does nothing, and the worker is idle again."""
        make_runner().run_next()
        assert heartbeat.lines()[-1] == "idle"

    def test_enterprise_pays_nothing(self, make_account, submit_one, make_runner, generation_of, balance_of):
        """An enterprise user without a credit gets the best entry's image."""
        account = make_account(Tier.ENTERPRISE, credits=0)
        generation = submit_one(account)
        make_runner().run_next()
        assert generation_of(generation.id).status == "completed"
        assert balance_of(account) == 0


class TestSwaps:
    def test_what_a_swap_took_is_recorded(self, make_account, submit_one, make_runner):
        """After a swap of more than a tenth of ten minutes the budget of this worker allows no other."""

        class Loading(ScriptedBackend):
            def generate(self, order, report):
                picture = super().generate(order, report)
                return replace(picture, seconds={**picture.seconds, Phase.LOAD: 61.0})

        clock = [0.0]
        backend = Loading()
        runner = make_runner(backend=backend, swaps=SwapBudget(lambda: clock[0]))
        clock[0] = 600.0
        for fields, allowed in (({}, True), ({"modelKey": "avatar-creator:flux-schnell-fast"}, False)):
            submit_one(make_account(Tier.BASIC), **fields)
            runner.run_next()
            assert runner.context.swaps.allows() is allowed
        assert len(backend.resident) == 2


class TestFailures:
    @pytest.mark.parametrize(
        ("failure", "code"),
        [
            (WeightsMissing("model", "they are not here"), "MODEL_LOADING"),
            (AdapterMismatch("adapter", "no key fits"), "MODEL_LOADING"),
            (OutOfMemory("cuda:0"), "OUT_OF_MEMORY"),
            (ImageFlat(0.1), "INTERNAL_ERROR"),
            (RuntimeError("portrait of a person"), "INTERNAL_ERROR"),
        ],
    )
    def test_a_failed_drawing_costs_nothing(
        self, make_account, submit_one, make_runner, generation_of, balance_of, uow, failure, code
    ):
        """Whatever the backend raises fails the generation with its code and voids the hold."""
        account = make_account(credits=20)
        generation = submit_one(account)
        make_runner(Script(fail_at=3, failure=failure)).run_next()
        ended = generation_of(generation.id)
        assert (ended.status, ended.error_code) == ("failed", code)
        assert ended.error_message.startswith(f"{code}: ")
        assert "portrait" not in ended.error_message
        assert balance_of(account) == 20
        with uow.read() as tx:
            assert tx.session.scalar(select(Avatar)) is None

    def test_the_next_one_is_drawn(self, make_account, submit_one, make_runner, generation_of):
        """After a failure the worker can still draw."""
        account = make_account()
        _, second = submit_one(account), submit_one(account)
        backend = ScriptedBackend(Script(fail_at=1, failure=OutOfMemory("cpu")))
        runner = make_runner(backend=backend)
        runner.run_next()
        backend.script = Script()
        runner.run_next()
        assert generation_of(second.id).status == "completed"

    def test_an_attempt_that_takes_too_long(
        self, make_account, submit_one, make_runner, generation_of, balance_of
    ):
        """An attempt beyond its time fails at the next step with GENERATION_TIMEOUT, and costs nothing."""
        account = make_account(credits=20)
        generation = submit_one(account)
        make_runner(Script(step_s=0.02), generation_timeout_s=0.1).run_next()
        assert generation_of(generation.id).error_code == "GENERATION_TIMEOUT"
        assert balance_of(account) == 20


class TestInterruptions:
    def test_a_cancellation_stops_the_drawing(
        self, make_account, submit_one, make_runner, uow, generation_of, balance_of
    ):
        """A generation that is cancelled while it is drawn is abandoned at a step, and nothing is stored."""
        account = make_account(credits=20)
        generation = submit_one(account)
        backend = ScriptedBackend(Script(step_s=0.05))
        steps = []
        generate = backend.generate

        def cancelling(order, report):
            def watched(progress):
                steps.append(progress)
                if progress.phase is Phase.STEP and progress.step == 2:
                    settlement.cancel(uow, [generation.id])
                report(progress)

            return generate(order, watched)

        backend.generate = cancelling
        make_runner(backend=backend).run_next()
        assert generation_of(generation.id).error_code == "CANCELLED"
        assert steps[-1].step < 28
        assert balance_of(account) == 20

    def test_a_stopping_worker_finishes(self, make_account, submit_one, make_runner, generation_of):
        """Within its grace a worker finishes its generation, and claims no other."""
        account = make_account()
        running, waiting = submit_one(account), submit_one(account)
        stop = StopRequest(grace_s=60)
        runner = make_runner(Script(step_s=0.02), stop=stop)
        threading.Timer(0.1, stop.receive).start()
        runner.run_next()
        runner.run_next()
        assert generation_of(running.id).status == "completed"
        assert generation_of(waiting.id).status == "pending"

    def test_a_grace_that_is_over(self, make_account, submit_one, make_runner, generation_of, balance_of):
        """After its grace a worker returns its generation to the queue, with its hold and without a loss."""
        account = make_account(credits=20)
        generation = submit_one(account)
        stop = StopRequest(grace_s=0)
        threading.Timer(0.1, stop.receive).start()
        make_runner(Script(step_s=0.02), stop=stop).run_next()
        returned = generation_of(generation.id)
        assert (returned.status, returned.losses) == ("pending", 0)
        assert balance_of(account) == 12

    def test_a_second_signal(self, make_account, submit_one, make_runner, generation_of):
        """A worker that gets a second signal returns its generation at once and ends."""
        generation = submit_one(make_account())
        backend = ScriptedBackend()

        def exiting(_order, _report):
            raise SystemExit

        backend.generate = exiting
        with pytest.raises(SystemExit):
            make_runner(backend=backend).run_next()
        assert generation_of(generation.id).status == "pending"


class FlakyDatabase(UnitOfWork):
    """A database that is away for some transactions: a real one cannot fail at an exact moment."""

    away = 0

    def begin(self):
        """Open a transaction, unless the database is away."""
        if self.away:
            self.away -= 1
            raise DatabaseAway
        return super().begin()


class TestDatabaseAway:
    def test_settling_waits_for_the_database(
        self, make_account, submit_one, make_runner, generation_of, database_url
    ):
        """A finished image is delivered although the database was away when it was drawn."""
        generation = submit_one(make_account())
        unit = FlakyDatabase(open_engine(database_url))
        backend = ScriptedBackend()
        generate = backend.generate

        def failing(order, report):
            picture = generate(order, report)
            unit.away = 2
            return picture

        backend.generate = failing
        make_runner(backend=backend, unit=unit).run_next()
        unit.close()
        assert generation_of(generation.id).status == "completed"

    def test_a_wakeup_without_a_database(
        self, make_account, submit_one, make_runner, generation_of, database_url
    ):
        """A wake-up that comes while the database is away is dropped; the generation stays pending."""
        generation = submit_one(make_account())
        unit = FlakyDatabase(open_engine(database_url))
        unit.away = 1
        make_runner(unit=unit).run_next()
        unit.close()
        assert generation_of(generation.id).status == "pending"

    def test_an_idle_worker_logs_it_once_a_minute(
        self, make_account, submit_one, make_runner, database_url, log_lines
    ):
        """A worker that looks every second logs that the database went, is still away, and came back."""
        submit_one(make_account())
        unit = FlakyDatabase(open_engine(database_url))
        unit.away = 130
        runner, seconds = make_runner(unit=unit), iter(range(1000))
        runner._clock = lambda: next(seconds)
        runner.context.room.is_there = lambda: True
        while not runner.run_next():
            pass
        unit.close()
        events = [line["event"] for line in log_lines() if line["event"].startswith("worker.database")]
        assert events == ["worker.database_away"] * 3 + ["worker.database_back"]


class TestFullDisk:
    @pytest.fixture
    def full(self, monkeypatch):
        """A disk that takes no more files, as obstore tells."""
        error = GenericError("Unable to write: No space left on device (os error 28)")

        def put(*_args, **_options):
            raise error

        monkeypatch.setattr("server.images.store.obstore.put", put)
        return monkeypatch

    def test_nothing_fails_for_it(
        self, full, make_account, submit_one, make_runner, generation_of, balance_of, images
    ):
        """A generation that cannot be stored waits again, and no further one is drawn for a while."""
        account = make_account(credits=20)
        first, second = submit_one(account), submit_one(account)
        backend = ScriptedBackend()
        runner = make_runner(backend=backend)
        assert [runner.run_next() for _ in range(3)] == [True, False, False]
        assert [generation_of(one.id).status for one in (first, second)] == ["pending", "pending"]
        assert len(backend.orders) == 1
        full.undo()
        runner.context.room._full_until = None  # later
        assert runner.run_next()
        assert runner.run_next()
        assert [generation_of(one.id).status for one in (first, second)] == ["completed", "completed"]
        assert generation_of(first.id).losses == 0
        assert balance_of(account) == 4

    def test_no_generation_is_drawn_without_room(self, monkeypatch, make_account, submit_one, make_runner):
        """A worker whose disk has no room for an image claims nothing."""
        monkeypatch.setattr("server.images.store.ROOM_BYTES", 2**60)
        submit_one(make_account())
        backend = ScriptedBackend()
        assert not make_runner(backend=backend).run_next()
        assert backend.orders == []
