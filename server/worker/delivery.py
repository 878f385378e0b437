"""From a picture to the files of an avatar and its row."""

import json
from io import BytesIO
from typing import Final
from uuid import uuid4

from PIL import Image, ImageOps

from server.db.tables import Avatar, Generation
from server.images.store import StoredImage, Variant

THUMBNAIL_PX: Final = 300  # Source: the contract, section 3
THUMBNAIL_QUALITY: Final = 88


def encode(image: Image.Image) -> dict[Variant, bytes]:
    """Return an image's files: the PNG, and a thumbnail of its centre as JPEG."""
    full, thumbnail = BytesIO(), BytesIO()
    image.save(full, "PNG")
    square = ImageOps.fit(image.convert("RGB"), (THUMBNAIL_PX, THUMBNAIL_PX))
    square.save(thumbnail, "JPEG", quality=THUMBNAIL_QUALITY)
    return {Variant.FULL: full.getvalue(), Variant.THUMBNAIL: thumbnail.getvalue()}


def avatar_of(generation: Generation, image: StoredImage) -> Avatar:
    """Return the avatar that a generation delivers."""
    draft = dict(generation.draft)
    personality = draft.pop("persona_personality")
    return Avatar(
        id=str(uuid4()),
        user_id=generation.user_id,
        project_id=generation.project_id,
        generation_id=generation.id,
        image_key=image.key,
        image_sha256=image.sha256,
        persona_personality=None if personality is None else json.dumps(personality),
        source_type="text_to_image",
        generation_prompt=generation.prompt,
        seed_used=generation.recipe["seed"],
        **draft,
    )
