"""What can go wrong with credits."""

from dataclasses import dataclass

from server.errors import DomainError


@dataclass
class InsufficientCredits(DomainError):
    """The caller's available credits do not cover the price. Nothing was held."""

    required: int
    available: int

    def __str__(self) -> str:
        return f"Insufficient credits. Required: {self.required}, Available: {self.available}"


@dataclass
class GrantDiffers(DomainError):
    """The reference is that of another grant, of `granted` credits to `user_id`. Nothing was granted."""

    reference: str
    user_id: str
    granted: int

    def __str__(self) -> str:
        return (
            f"The reference {self.reference} is that of another grant: "
            f"{self.granted} credits to user {self.user_id}"
        )


class CaptureBeyondHold(ValueError):
    """The caller tried to capture more than was held. This is a bug."""

    def __init__(self, held: int, captured: int) -> None:
        super().__init__(f"{captured} credits cannot be captured from a hold of {held}")
        self.held = held
        self.captured = captured


class HoldMissing(LookupError):
    """A generation has no hold. This is a bug: every generation is made with one."""

    def __init__(self, generation_id: str) -> None:
        super().__init__(f"generation {generation_id} has no hold")
        self.generation_id = generation_id
