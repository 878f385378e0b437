"""Responses that are larger than they look, and images at addresses that are nobody's business."""

import base64
import struct
import zlib
from itertools import repeat

from tests.inference.hosted.box import deliver, name_image, picture, size_of

BOMB_MIB = 1024
_END = b"\r\n"


def gzip_bomb(conversation):
    """Send a megabyte that gzip turns into a gigabyte, in place of an image or of JSON."""
    conversation.send_response(200)
    conversation.send_header("Content-Type", "image/png")
    conversation.send_header("Content-Encoding", "gzip")
    body = b"".join(_bomb())
    conversation.send_header("Content-Length", str(len(body)))
    conversation.end_headers()
    conversation.wfile.write(body)


def _bomb():
    squeeze = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    yield squeeze.compress(bytes(2**20)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    # After a full flush nothing refers to what was before, so the same bytes may come again.
    squeeze = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    yield from repeat(squeeze.compress(bytes(2**20)) + squeeze.flush(zlib.Z_FULL_FLUSH), BOMB_MIB - 1)


def pour(conversation, kind="image/png", status=200):
    """Send a body without an announced length and without an end."""
    conversation.send_response(status)
    conversation.send_header("Content-Type", kind)
    conversation.send_header("Transfer-Encoding", "chunked")
    conversation.end_headers()
    part = b"10000" + _END + bytes(2**16) + _END
    try:
        while not conversation.box.closing.is_set():
            conversation.wfile.write(part)
    except OSError:
        conversation.close_connection = True


def pour_an_error(conversation):
    """Send an error whose explanation never ends."""
    pour(conversation, "application/json", 401)


def many_values(conversation):
    """Send JSON of fifteen megabytes, which would be half a gigabyte as objects."""
    conversation.reply(200, "application/json", b'{"images": [' + b"{}," * 5_000_000 + b"{}]}")


def many_pixels(conversation):
    """Deliver an image of 169 megapixels in 20 KB."""
    deliver(conversation, black_png(13_000))


def black_png(side_px):
    """Return a black PNG of one bit a pixel, without making it in memory as an image."""
    row = bytes(1 + (side_px + 7) // 8)
    header = struct.pack(">IIBBBBB", side_px, side_px, 1, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(row * side_px, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


def in_data(conversation):
    """Deliver the image inside of the JSON, as a data: URL."""
    image = base64.b64encode(picture(size_of(conversation.order))).decode()
    name_image(conversation, f"data:image/png;base64,{image}")


def much_data(conversation):
    """Send a data: URL of 100 MB."""
    name_image(conversation, "data:image/png;base64," + "A" * 100_000_000)


def image_at(url):
    """Respond with an image that is said to be at a URL; PORT in it is that of the box."""

    def respond(conversation):
        name_image(conversation, url.replace("PORT", conversation.box.url.rpartition(":")[2]))

    return respond


def image_behind(page):
    """Respond with an image at the box, which the box answers in its own way."""

    def respond(conversation):
        conversation.box.pages["/page"] = page
        name_image(conversation, f"{conversation.box.url}/page")

    return respond


def redirect_image_to(url):
    """Respond with an image at the box, which redirects to a URL."""
    return image_behind(lambda conversation: conversation.reply(302, "text/plain", b"", Location=url))
