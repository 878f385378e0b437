"""What can go wrong at a provider: one class a cause, each with the code that a client reads."""

from typing import ClassVar

from inference.errors import InferenceError


class ProviderError(InferenceError):
    """A provider did not deliver. The text holds nothing of its answer, which may quote the prompt."""

    code = "AI_PROVIDER_ERROR"
    passing: ClassVar[bool] = False
    """Whether the same order may succeed there a moment later."""
    drawn: ClassVar[bool] = False
    """Whether a provider that has the order may have drawn it all the same."""

    def __init__(self, provider: str, cause: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{provider} {cause}")
        self.provider = provider
        self.cause = cause
        self.retry_after_s = retry_after_s
        """How long it asks to be left alone."""
        self.sent = False
        """Whether the provider has the order."""

    @property
    def unknown(self) -> bool:
        """Whether the provider may have drawn, and may charge."""
        return self.sent and self.drawn


class ProviderLoading(ProviderError):
    """The provider is still loading the model."""

    code = "MODEL_LOADING"
    passing = True


class ProviderBusy(ProviderError):
    """The provider has had too many requests of this key."""

    code = "RATE_LIMIT_EXCEEDED"
    passing = True


class ProviderSlow(ProviderError):
    """The provider did not answer in time."""

    code = "GENERATION_TIMEOUT"
    drawn = True


class KeyRejected(ProviderError):
    """The provider does not know the key, or it may not be used for this."""

    operators = True


class KeyMissing(ProviderError):
    """There is no key to call any provider with."""

    operators = True

    def __init__(self) -> None:
        super().__init__("No hosted provider", "can be asked: HUGGINGFACE_API_KEY is not set")


class ModelGated(ProviderError):
    """The model's licence was not accepted by the key's owner."""

    operators = True


class CreditSpent(ProviderError):
    """The account behind the key cannot pay."""

    operators = True


class OrderRefused(ProviderError):
    """The provider finds the request at fault: another time it would too."""


class ContentRefused(ProviderError):
    """The provider's filter refused the prompt or the image."""

    drawn = True


class ImageBroken(ProviderError):
    """What came is no image, or not the one that was ordered."""

    passing = True
    drawn = True


class AnswerBroken(ProviderError):
    """The answer ended in the middle, or says nothing that can be read."""

    passing = True
    drawn = True


class ProviderFailed(ProviderError):
    """The provider had an error of its own."""

    passing = True


class ProviderAway(ProviderError):
    """The provider cannot be reached."""

    passing = True


class NoProvider(ProviderError):
    """None of the providers in the settings can draw this order as it is."""

    def __init__(self, causes: tuple[str, ...]) -> None:
        super().__init__("No hosted provider", f"can draw this: {'; '.join(causes)}")
        self.causes = causes
