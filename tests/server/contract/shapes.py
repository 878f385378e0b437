"""The shapes of the contract, section 3: the fields that must be there, and what a value must be."""

import json
import re
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

Check = Callable[[Any], bool]

PERSONA: Final = ("personaName", "personaAge", "personaPersonality", "personaBackground")
LOOKS: Final = (
    "gender",
    "ageRange",
    "ethnicity",
    "bodyType",
    "hairStyle",
    "hairColor",
    "eyeColor",
    "skinTone",
    "style",
)
TIMESTAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
IMAGE_PATH: Final = re.compile(r"/uploads/avatar-creator/\S+")


def is_time(value: Any) -> bool:
    """Whether a value is a time in UTC as clients read it."""
    return isinstance(value, str) and TIMESTAMP.fullmatch(value) is not None


def is_path(value: Any) -> bool:
    """Whether a value is a path to an image."""
    return isinstance(value, str) and IMAGE_PATH.fullmatch(value) is not None


def is_uuid(value: Any) -> bool:
    """Whether a value is a UUID as text."""
    return isinstance(value, str) and str(UUID(value)) == value


def is_json(value: Any) -> bool:
    """Whether a value is JSON as text."""
    return isinstance(value, str) and json.loads(value) is not None


def is_any(_value: Any) -> bool:
    """Whether the field is there at all."""
    return True


def optional(check: Check) -> Check:
    """Accept null as well."""
    return lambda value: value is None or check(value)


def text(value: Any) -> bool:
    """Whether a value is a text."""
    return isinstance(value, str)


def whole(value: Any) -> bool:
    """Whether a value is a whole number."""
    return isinstance(value, int) and not isinstance(value, bool)


def listed(value: Any) -> bool:
    """Whether a value is a list."""
    return isinstance(value, list)


TRAITS: Final[dict[str, Check]] = {name: optional(text) for name in (*PERSONA, *LOOKS)} | {
    "personaAge": optional(whole),
    "personaPersonality": optional(is_json),
}
PROJECT: Final[dict[str, Check]] = {
    "id": is_uuid,
    "userId": text,
    "name": text,
    "description": optional(text),
    "createdAt": is_time,
    "updatedAt": is_time,
    "avatars": listed,
}
AVATAR: Final[dict[str, Check]] = TRAITS | {
    "id": is_uuid,
    "userId": text,
    "projectId": is_uuid,
    "name": text,
    "baseImageUrl": is_path,
    "thumbnailUrl": is_path,
    "sourceType": lambda value: value in {"uploaded", "text_to_image", "from_preset", "from_reference"},
    "generationPrompt": optional(text),
    "seedUsed": optional(whole),
    "usageCount": whole,
    "lastUsedAt": optional(is_time),
    "createdAt": is_time,
    "updatedAt": is_time,
}
GENERATION: Final[dict[str, Check]] = {
    "id": is_uuid,
    "userId": text,
    "projectId": is_uuid,
    "avatarId": optional(is_uuid),
    "status": lambda value: value in {"pending", "processing", "completed", "failed"},
    "prompt": text,
    "options": lambda value: {"width", "height", "seed", "modelKey", "modelName"} <= json.loads(value).keys(),
    "errorMessage": optional(text),
    "createdAt": is_time,
    "updatedAt": is_time,
    "completedAt": optional(is_time),
}
PRESET: Final[dict[str, Check]] = TRAITS | {
    "id": is_uuid,
    "name": text,
    "description": text,
    "category": lambda value: value in {"professional", "casual", "sports", "fashion", "traditional"},
    "imageUrl": is_path,
    "thumbnailUrl": is_path,
    "previewImageUrl": is_path,
    "generationPrompt": text,
    "personaTemplate": is_json,
    "visualAttributes": is_json,
    "isPublic": lambda value: value is True,
    "usageCount": whole,
    "popularity": whole,
    "createdAt": is_time,
    "updatedAt": is_time,
}
CREDIT_ENTRY: Final[dict[str, Check]] = {
    "id": is_any,
    "userId": text,
    "amount": whole,
    "balance": whole,
    "type": lambda value: value in {"purchase", "bonus", "usage", "refund"},
    "description": text,
    "referenceId": optional(text),
    "referenceType": optional(text),
    "paymentId": optional(text),
    "createdAt": is_time,
}
MODEL: Final[dict[str, Check]] = {
    "modelKey": text,
    "name": text,
    "tier": text,
    "creditCost": whole,
    "quotaCost": whole,
    "provider": text,
    "enabled": lambda value: isinstance(value, bool),
    "beta": lambda value: isinstance(value, bool),
    "capabilities": lambda value: {"modelId", "width", "maxWidth", "quality"} <= value.keys(),
    "totalUsage": whole,
}
USE: Final[dict[str, Check]] = {
    "model": lambda value: {"name", "provider", "tier"} <= value.keys(),
    "createdAt": is_time,
}
SUBMITTED: Final[dict[str, Check]] = {
    "message": text,
    "generation": is_any,
    "creditUsed": whole,
    "creditBalance": whole,
    "note": text,
}
STATS: Final[dict[str, Check]] = {
    "totalAvatars": whole,
    "totalProjects": whole,
    "recentUploads": whole,
    "totalUsage": whole,
    "averageUsage": lambda value: isinstance(value, int | float),
    "topUsedAvatars": listed,
}


def conforms(value: dict[str, Any], shape: dict[str, Check]) -> None:
    """Check that every field of a shape is there and is what it must be."""
    for field, check in shape.items():
        assert field in value, f"{field} is missing in {value}"
        assert check(value[field]), f"{field} is {value[field]!r}"
