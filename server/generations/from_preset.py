"""Accepting a generation that draws a preset."""

from catalog.selection import Wish, WishedQuality
from server.caller import Caller
from server.db.unit_of_work import Transaction
from server.generations.submission import GenerationRequest, Limits, Submitted, accept
from server.generations.tables import Source
from server.presets.repository import PresetUses
from server.presets.service import require


def accept_preset(
    tx: Transaction, caller: Caller, project_id: str, preset_id: str, name: str | None, limits: Limits
) -> Submitted:
    """Accept one generation of a preset by the best entry within reach, and count its use.

    name: the avatar's; None: the preset's. After the commit, the caller notifies a worker.

    Raises:
        NotFound: the preset or the project.
        DomainError: see `submission.accept`.

    """
    preset = require(preset_id)
    request = GenerationRequest(
        project_id=project_id,
        name=name or preset.name,
        prompt=preset.prompt,
        traits=preset.traits,
        wish=Wish(quality=WishedQuality.ULTRA),
        source=Source.FROM_PRESET,
    )
    submitted = accept(tx, caller, request, limits)
    PresetUses(tx).add_one(preset.id)
    return submitted
