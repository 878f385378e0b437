"""Errors of hosted providers: one class per cause, each with the error code for the client."""

from typing import ClassVar

from inference.errors import InferenceError


class ProviderError(InferenceError):
    """A provider returned no image. The message never quotes its response, which may contain the prompt."""

    code = "AI_PROVIDER_ERROR"
    transient: ClassVar[bool] = False
    """Whether a retry of the same order at this provider may succeed."""
    may_have_drawn: ClassVar[bool] = False
    """Whether a provider that received the order may have drawn it despite this error."""

    def __init__(self, provider: str, cause: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{provider} {cause}")
        self.provider = provider
        self.cause = cause
        self.retry_after_s = retry_after_s
        """The wait that the provider demands before the next request."""
        self.sent = False
        """Whether the provider has received the order."""

    @property
    def outcome_unknown(self) -> bool:
        """Whether the provider may have drawn the image and may charge for it."""
        return self.sent and self.may_have_drawn


class ProviderLoading(ProviderError):
    """The provider is still loading the model."""

    code = "MODEL_LOADING"
    transient = True


class ProviderRateLimited(ProviderError):
    """The provider received too many requests with this key."""

    code = "RATE_LIMIT_EXCEEDED"
    transient = True


class ProviderTimeout(ProviderError):
    """The provider did not answer in time."""

    code = "GENERATION_TIMEOUT"
    may_have_drawn = True


class KeyRejected(ProviderError):
    """The provider does not know the key, or the key lacks the permission."""

    needs_operator = True


class KeyMissing(ProviderError):
    """No key is set, so no provider can be called."""

    needs_operator = True

    def __init__(self) -> None:
        super().__init__("No hosted provider", "can be called: HUGGINGFACE_API_KEY is not set")


class ModelGated(ProviderError):
    """The owner of the key has not accepted the model's licence."""

    needs_operator = True


class CreditSpent(ProviderError):
    """The account of the key cannot pay."""

    needs_operator = True


class OrderRefused(ProviderError):
    """The provider rejects the request as invalid, so a retry would fail too."""


class ContentRefused(ProviderError):
    """The provider's filter refused the prompt or the image."""

    may_have_drawn = True


class ImageBroken(ProviderError):
    """The provider sent no valid image, or one of another size than expected."""

    transient = True
    may_have_drawn = True


class ResponseBroken(ProviderError):
    """The response ended early or cannot be parsed."""

    transient = True
    may_have_drawn = True


class ResponseRefused(ProviderError):
    """The response, or the image in it, is larger than was ordered. It was neither read on nor decoded."""

    may_have_drawn = True


class AddressRefused(ProviderError):
    """The provider named, or redirects to, an address that may not be reached. Nothing was sent there."""

    may_have_drawn = True


class ProviderFailed(ProviderError):
    """The provider had an internal error."""

    transient = True


class ProviderUnreachable(ProviderError):
    """The provider cannot be reached."""

    transient = True


class NoProvider(ProviderError):
    """No provider in the settings supports this order."""

    def __init__(self, causes: tuple[str, ...]) -> None:
        super().__init__("No hosted provider", f"can draw this: {'; '.join(causes)}")
        self.causes = causes
