"""What every message of configd is made of: words with a bound each, and the two kinds of verb."""

from typing import Annotated, Literal

import msgspec

Role = Literal["administrator", "operator", "auditor"]
Handle = Annotated[str, msgspec.Meta(max_length=64)]  # 256 bits in hexadecimal
Word = Annotated[str, msgspec.Meta(max_length=512)]  # the longest name we know, user@domain, has 320 characters
Line = Annotated[str, msgspec.Meta(max_length=1_024)]  # a comment, a note; what is too long for its use is told there
Secret = Annotated[str, msgspec.Meta(max_length=1_024)]  # libxcrypt takes 511 bytes
Scope = Literal["read", "metrics", "diagnose", "devices", "services", "configure", "accounts", "power"]
"""What a token may be used for (`appliance.configd.scopes`)."""
Path = Annotated[tuple[Word, ...], msgspec.Meta(max_length=64)]
"""Of the configuration; five words lead to the deepest setting."""


class BaseVerb(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="verb"):
    """Every verb carries its name in `verb`."""


class SessionVerb(BaseVerb, frozen=True, kw_only=True):
    """Every verb but those that open a session, and those of the TLS proxy, names one."""

    session: Handle
