"""Of an image: what its slots hold, updates, and the way back."""

from typing import Annotated, Literal

import msgspec

from appliance.configd.api.words import SessionVerb

SoftwarePiece = Annotated[str, msgspec.Meta(max_length=1_400_000)]  # 1 MiB in base64


class ReadSoftware(SessionVerb, frozen=True, kw_only=True, tag="software.status"):
    """What of an image runs, what its slots hold, and how the last order went. Result: `Software`."""


class UploadSoftware(SessionVerb, frozen=True, kw_only=True, tag="software.upload"):
    """The next piece of an update (base64), which begins at byte `offset`; at 0 an upload begins anew. `last`: it is
    whole, and takes the place of one that lay here. Result: how many bytes are here (int)."""

    offset: Annotated[int, msgspec.Meta(ge=0)]
    data: SoftwarePiece
    last: bool = False


class UpdateSoftware(SessionVerb, frozen=True, kw_only=True, tag="software.update"):
    """Have the update that was uploaded written into the slot that does not run, if its signature and version allow it; the next
    restart takes it. `allow_older`: it need not be newer than what runs. Result: `Software`, in which it has begun."""

    allow_older: bool = False


class RollBackSoftware(SessionVerb, frozen=True, kw_only=True, tag="software.rollback"):
    """Have the next restart take the other slot, which must have run well. Result: `Software`, in which it has begun."""


class SoftwareSlot(msgspec.Struct, frozen=True, kw_only=True):
    """A slot. `state`: `trial` has not yet been seen to run well, `bad` did not, or is damaged; `verified` is when it was last
    read whole (ISO 8601), `damage` what was found then."""

    name: Literal["a", "b"]
    version: str
    state: Literal["empty", "trial", "good", "bad"]
    verified: str = ""
    damage: str = ""


class SoftwareOrder(msgspec.Struct, frozen=True, kw_only=True):
    """The last order: by whom, since and until when (ISO 8601), and what kept it from being done."""

    kind: Literal["update", "rollback"]
    by: str
    standing: Literal["running", "done", "failed"]
    began: str
    ended: str = ""
    problem: str = ""


class Software(msgspec.Struct, frozen=True, kw_only=True):
    """`image` False: the machine was provisioned, and there is nothing else to say. The slot that runs and the one of the next
    restart; the bytes of an update that lies here whole (0: none)."""

    image: bool
    version: str = ""
    running: str = ""
    next: str = ""
    slots: tuple[SoftwareSlot, ...] = ()
    uploaded: int = 0
    order: SoftwareOrder | None = None
