"""The use cases of presets that only read; `generations/from_preset.py` draws an avatar from one."""

from dataclasses import dataclass

from catalog.presets import Category, Preset, shipped_presets
from server.db.unit_of_work import UnitOfWork
from server.errors import NotFound
from server.presets.repository import PresetUses


@dataclass(frozen=True)
class UsedPreset:
    """A preset and how many generations it was used for."""

    preset: Preset
    uses: int


def list_all(uow: UnitOfWork, category: Category | None = None) -> list[UsedPreset]:
    """Return the presets of a category, or of all, the most popular first."""
    with uow.read() as tx:
        uses = PresetUses(tx).all()
    return [
        UsedPreset(preset, uses.get(preset.id, 0))
        for preset in shipped_presets().values()
        if category in {None, preset.category}
    ]


def get(uow: UnitOfWork, preset_id: str) -> UsedPreset:
    """Return one preset.

    Raises:
        NotFound: there is none of this id.

    """
    preset = require(preset_id)
    with uow.read() as tx:
        return UsedPreset(preset, PresetUses(tx).all().get(preset_id, 0))


def require(preset_id: str) -> Preset:
    """Return the catalogue's preset.

    Raises:
        NotFound: there is none of this id.

    """
    preset = shipped_presets().get(preset_id)
    if preset is None:
        raise NotFound("Preset")
    return preset
