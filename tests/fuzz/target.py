"""What a fuzzing target is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """`run` takes any bytes, and fails only where the product is wrong; `seeds` are where fuzzing begins.

    `longest` is the length of what is tried: of a bound that lies higher the seeds have to know.
    """

    run: Callable[[bytes], None]
    seeds: Sequence[bytes]
    longest: int = 4_096


def refused_in_order(in_order: bool, error: Exception) -> None:  # noqa: FBT001 - a condition, as assert takes one
    """A refusal has one word for the audit line, and what else belongs to it."""
    if not in_order:
        raise AssertionError(f"a refusal out of order: {error!r}") from error


def in_words(error: Exception) -> None:
    """The refusal says something."""
    refused_in_order(bool(str(error)), error)


def one_word(error: Exception) -> None:
    """The whole of the refusal is such a word."""
    refused_in_order(str(error).isidentifier(), error)
