"""JSON from the other side of a boundary, read so that whatever stands there is refused in one way."""

from collections.abc import Callable
from typing import TypeVar

import msgspec

_Text = TypeVar("_Text")
_Found = TypeVar("_Found")


def decoded(decode: Callable[[_Text], _Found], text: _Text) -> _Found:
    """What `decode` (of a `msgspec.json.Decoder`) makes of the text. Raises `msgspec.MsgspecError`, and nothing else: a decoder
    lets through what Python says of text that is no UTF-8, and of one that is nested deeper than its stack is."""
    try:
        return decode(text)
    except UnicodeDecodeError:
        raise msgspec.DecodeError("this is not UTF-8") from None
    except RecursionError:
        raise msgspec.DecodeError("this is nested too deep") from None
