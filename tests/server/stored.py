"""What a worker passes to the settlement."""

from dataclasses import replace
from uuid import uuid4

from catalog.orders import Provenance
from server.images.store import StoredImage


def stored_image():
    """Return a stored image with a random key."""
    return StoredImage(uuid4().hex, "0" * 64)


def provenance_of(generation, **changes):
    """Return the provenance of an image that was drawn as it was ordered, without a revision."""
    drawn = Provenance.of_order("scripted", generation.order)
    return replace(drawn, **{"revision": None, **changes})
