"""The faults of a provider, as the box simulates them, each with the expected error."""

import socket
import struct

from PIL import Image

from inference.hosted import errors
from tests.inference.hosted import floods
from tests.inference.hosted.box import as_png, deliver, picture, size_of

NEVER_AGAIN_S = 1e6
"""A first wait longer than every deadline, so that nothing is retried."""


def status(code, content=None, **headers):
    """Respond with a status."""
    return lambda conversation: conversation.say(
        code, content or {"error": "a secret fox is no good"}, **headers
    )


def redirect(location):
    """Respond with a redirect."""
    return lambda conversation: conversation.reply(307, "text/plain", b"", Location=location)


def redirect_to_itself(conversation):
    """Redirect without end."""
    conversation.reply(307, "text/plain", b"", Location=conversation.path)
    conversation.box.will(conversation.order.provider, redirect_to_itself)


def send_headers(conversation):
    """Send the headers of a response with 100,000 bytes."""
    conversation.send_response(200)
    conversation.send_header("Content-Type", "image/png")
    conversation.send_header("Content-Length", "100000")
    conversation.end_headers()


def half(conversation):
    """Close the connection in the middle of the response."""
    send_headers(conversation)
    conversation.wfile.write(b"\x89PNG\r\n")
    conversation.close_connection = True


def reset(conversation):
    """Reset the connection before any response."""
    conversation.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    conversation.connection.close()
    conversation.close_connection = True
    conversation.rfile = conversation.wfile = open("/dev/null", "r+b", buffering=0)  # noqa: SIM115, PTH123


def trickle(conversation):
    """Send a byte every 50 ms until the box is closed."""
    send_headers(conversation)
    try:
        while not conversation.box.closing.wait(0.05):
            conversation.wfile.write(b"\0")
    except OSError:
        conversation.close_connection = True


def silence(conversation):
    """Send nothing until the box is closed."""
    conversation.box.closing.wait()
    conversation.close_connection = True


def truncated(conversation):
    """Deliver half a file as if it were complete."""
    image = picture(size_of(conversation.order))
    deliver(conversation, image[: len(image) // 2])


def garbage(conversation):
    deliver(conversation, b"<html>not an image</html>")


def flat(conversation):
    deliver(conversation, as_png(Image.new("RGB", size_of(conversation.order))))


def smaller(conversation):
    deliver(conversation, picture((256, 256)))


def unexpected_json(conversation):
    conversation.say(200, {"nothing": "of use"})


LOADING = {"error": "Model black-forest-labs/FLUX.1-dev is currently loading", "estimated_time": 20.0}
NSFW = {"error": "flagged as sensitive", "status": "failed", "output": None}

# Each fault: the response, the provider, the error's class and code, and whether the provider may have drawn.
FAULTS = {
    "loading": (status(503, LOADING), "hf-inference", errors.ProviderLoading, "MODEL_LOADING", False),
    "too many requests": (status(429), "fal-ai", errors.ProviderRateLimited, "RATE_LIMIT_EXCEEDED", False),
    "no answer": (silence, "fal-ai", errors.ProviderTimeout, "GENERATION_TIMEOUT", True),
    "trickle": (trickle, "hf-inference", errors.ProviderTimeout, "GENERATION_TIMEOUT", True),
    "gateway timeout": (status(504), "replicate", errors.ProviderTimeout, "GENERATION_TIMEOUT", True),
    "still drawing": (
        status(201, {"status": "processing", "output": None}),
        "replicate",
        errors.ProviderTimeout,
        "GENERATION_TIMEOUT",
        True,
    ),
    "wrong key": (status(401), "fal-ai", errors.KeyRejected, "AI_PROVIDER_ERROR", False),
    "forbidden": (status(403), "replicate", errors.KeyRejected, "AI_PROVIDER_ERROR", False),
    "gated model": (
        status(403, X_Error_Code="GatedRepo"),
        "hf-inference",
        errors.ModelGated,
        "AI_PROVIDER_ERROR",
        False,
    ),
    "no money": (status(402), "fal-ai", errors.CreditSpent, "AI_PROVIDER_ERROR", False),
    "bad request": (status(400), "hf-inference", errors.OrderRefused, "AI_PROVIDER_ERROR", False),
    "no such model": (status(404), "fal-ai", errors.OrderRefused, "AI_PROVIDER_ERROR", False),
    "prompt refused": (
        status(422, {"detail": "NSFW content"}),
        "fal-ai",
        errors.ContentRefused,
        "AI_PROVIDER_ERROR",
        True,
    ),
    "image refused": (
        lambda conversation: deliver(conversation, picture((512, 512)), has_nsfw_concepts=[True]),
        "fal-ai",
        errors.ContentRefused,
        "AI_PROVIDER_ERROR",
        True,
    ),
    "prediction refused": (status(201, NSFW), "replicate", errors.ContentRefused, "AI_PROVIDER_ERROR", True),
    "prediction failed": (
        status(201, {"status": "failed", "output": None, "error": "CUDA error"}),
        "replicate",
        errors.ProviderFailed,
        "AI_PROVIDER_ERROR",
        False,
    ),
    "black image": (flat, "fal-ai", errors.ContentRefused, "AI_PROVIDER_ERROR", True),
    "broken image": (garbage, "hf-inference", errors.ImageBroken, "AI_PROVIDER_ERROR", True),
    "broken file": (garbage, "fal-ai", errors.ImageBroken, "AI_PROVIDER_ERROR", True),
    "half an image": (truncated, "replicate", errors.ImageBroken, "AI_PROVIDER_ERROR", True),
    "another size": (smaller, "fal-ai", errors.ImageBroken, "AI_PROVIDER_ERROR", True),
    "half an answer": (half, "hf-inference", errors.ResponseBroken, "AI_PROVIDER_ERROR", True),
    "connection reset": (reset, "fal-ai", errors.ResponseBroken, "AI_PROVIDER_ERROR", True),
    "empty answer": (unexpected_json, "fal-ai", errors.ResponseBroken, "AI_PROVIDER_ERROR", True),
    "server error": (status(500), "fal-ai", errors.ProviderFailed, "AI_PROVIDER_ERROR", False),
    "overloaded": (status(503), "hf-inference", errors.ProviderFailed, "AI_PROVIDER_ERROR", False),
    "many pixels": (floods.many_pixels, "fal-ai", errors.ResponseRefused, "AI_PROVIDER_ERROR", True),
    "gzip bomb": (floods.gzip_bomb, "hf-inference", errors.ResponseRefused, "AI_PROVIDER_ERROR", True),
    "gzip bomb as JSON": (floods.gzip_bomb, "replicate", errors.ResponseRefused, "AI_PROVIDER_ERROR", True),
    "gzip bomb as a file": (
        floods.image_behind(floods.gzip_bomb),
        "fal-ai",
        errors.ResponseRefused,
        "AI_PROVIDER_ERROR",
        True,
    ),
    "endless answer": (floods.pour, "hf-inference", errors.ResponseRefused, "AI_PROVIDER_ERROR", True),
    "endless file": (
        floods.image_behind(floods.pour),
        "replicate",
        errors.ResponseRefused,
        "AI_PROVIDER_ERROR",
        True,
    ),
    "endless error": (floods.pour_an_error, "fal-ai", errors.KeyRejected, "AI_PROVIDER_ERROR", False),
    "many values": (floods.many_values, "fal-ai", errors.ResponseRefused, "AI_PROVIDER_ERROR", True),
    "much data": (floods.much_data, "replicate", errors.ResponseRefused, "AI_PROVIDER_ERROR", True),
    "private file": (
        floods.image_at("https://10.0.0.1/?key=hf_secret"),
        "fal-ai",
        errors.AddressRefused,
        "AI_PROVIDER_ERROR",
        True,
    ),
    "redirect to a private file": (
        floods.redirect_image_to("https://169.254.169.254/latest/meta-data/?key=hf_secret"),
        "replicate",
        errors.AddressRefused,
        "AI_PROVIDER_ERROR",
        True,
    ),
    "redirect of the order to a private host": (
        redirect("https://10.0.0.1/"),
        "fal-ai",
        errors.AddressRefused,
        "AI_PROVIDER_ERROR",
        False,
    ),
    "redirect to nowhere": (
        redirect("http://127.0.0.1:1/"),
        "fal-ai",
        errors.ProviderUnreachable,
        "AI_PROVIDER_ERROR",
        False,
    ),
    "redirect to no address": (
        redirect("ftp://127.0.0.1/"),
        "replicate",
        errors.AddressRefused,
        "AI_PROVIDER_ERROR",
        False,
    ),
    "redirect to itself": (
        redirect_to_itself,
        "hf-inference",
        errors.ProviderUnreachable,
        "AI_PROVIDER_ERROR",
        False,
    ),
}


def deadline_s(name):
    """Return a call's timeout: short if only the timeout ends the fault, otherwise ample on any machine."""
    return 1.0 if name in ("no answer", "trickle") else 60.0
