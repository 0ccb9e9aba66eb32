"""How the insides of configd say no, and how every error becomes a `Refusal` the person can act on."""

from appliance.apply import ConflictError
from appliance.backup.bounds import BackupError
from appliance.config.paths import PathError
from appliance.config.secrets import SecretError
from appliance.config.store import NoSuchRevisionError, StoreError
from appliance.configd.api import Refusal, RefusalKind
from appliance.plan import InvalidError, SelfLockout
from appliance.process import CommandError
from appliance.render import RenderError
from appliance.support.shelf import ShelfError
from appliance.system import MachineError
from appliance.vet import ApplyError
from sentry_runtime.control import ControlError


class RefusedError(Exception):
    """A verb that is not served; carries the `Refusal`."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.message)


def refused(kind: RefusalKind, message: str) -> RefusedError:
    """The error for a refusal without problems."""
    return RefusedError(Refusal(kind=kind, message=message))


_KINDS: tuple[tuple[type[Exception], RefusalKind], ...] = (
    (ConflictError, "conflict"),
    (NoSuchRevisionError, "invalid"),
    (BackupError, "invalid"),
    (ShelfError, "invalid"),
    (ApplyError, "apply"),
    (RenderError, "apply"),
    (MachineError, "apply"),
    (StoreError, "apply"),
    (SecretError, "apply"),
    (CommandError, "unavailable"),
    (ControlError, "unavailable"),
)


def as_refusal(error: Exception) -> Refusal | None:
    """The refusal `error` stands for; None for an error nobody foresaw."""
    if isinstance(error, RefusedError):
        return error.refusal
    if isinstance(error, InvalidError | PathError):
        problems = error.problems if isinstance(error, InvalidError) else (error.problem,)
        said = tuple(str(problem) for problem in problems)
        kind: RefusalKind = "lockout" if all(isinstance(problem, SelfLockout) for problem in problems) else "invalid"
        return Refusal(
            kind=kind, message=said[0] if len(said) == 1 else f"{len(said)} settings are wrong", problems=said
        )
    found = next((kind for known, kind in _KINDS if isinstance(error, known)), None)
    return Refusal(kind=found, message=str(error)) if found else None
