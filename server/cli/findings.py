"""What the doctor finds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One result of a check: its subject, whether all is well, and what to do if not."""

    subject: str
    well: bool
    words: str


def ok(subject: str, words: str) -> Finding:
    """Return what is well."""
    return Finding(subject, well=True, words=words)


def missing(subject: str, words: str) -> Finding:
    """Return what is not well."""
    return Finding(subject, well=False, words=words)
