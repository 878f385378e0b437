"""What a worker delivers."""

from uuid import uuid4

from server.db.tables import Avatar


def avatar_for(generation):
    """Return an avatar as the worker makes one."""
    return Avatar(
        id=str(uuid4()),
        user_id=generation.user_id,
        project_id=generation.project_id,
        generation_id=generation.id,
        name="Ada",
        image_key=uuid4().hex,
        image_sha256="0" * 64,
        source_type="text_to_image",
    )
