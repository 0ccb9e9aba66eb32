"""The configuration: reading it, editing a candidate, making it what runs, and the revisions that are kept."""

from typing import Any, Literal

import msgspec

from appliance.configd.api.words import Line, Path, SessionVerb, Word

View = Literal["running", "candidate", "startup"]


class GetConfig(SessionVerb, frozen=True, kw_only=True, tag="config.get"):
    """The configuration below `path`, secrets masked as `********`. Result: the tree (Any)."""

    view: View = "running"
    path: Path = ()


class ReadConfig(SessionVerb, frozen=True, kw_only=True, tag="config.read"):
    """The running configuration with its revision and digest. Result: `Configuration`."""


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """What runs, secrets masked. `digest` changes with each setting, with secrets too."""

    revision: int
    digest: str
    tree: dict[str, Any]


class SetConfig(SessionVerb, frozen=True, kw_only=True, tag="config.set"):
    """Set one value in this session's candidate; refused with a `Problem` when the schema says no. Result: None."""

    path: Path
    value: Any


class DeleteConfig(SessionVerb, frozen=True, kw_only=True, tag="config.delete"):
    """Remove a value from the candidate: back to its default, or the list item or named instance is gone. Result: None."""

    path: Path
    value: Any = None
    """For a list: the item to remove; None removes the whole value."""


class ReplaceConfig(SessionVerb, frozen=True, kw_only=True, tag="config.replace"):
    """Replace the candidate by `tree` (a site configuration). Result: None."""

    tree: dict[str, Any]


class MergeConfig(SessionVerb, frozen=True, kw_only=True, tag="config.merge"):
    """Lay `patch` over the candidate: groups are merged, anything else is replaced, null takes a setting back (RFC 7396).
    Result: None."""

    patch: dict[str, Any]


class DiffConfig(SessionVerb, frozen=True, kw_only=True, tag="config.diff"):
    """What the candidate would change. Result: tuple[Change, ...]."""


class Commit(SessionVerb, frozen=True, kw_only=True, tag="config.commit"):
    """Make the candidate the running configuration. Result: `Committed`.

    `confirm_minutes`: roll back by itself unless confirmed in time. `check_only`: validate, render and vet, apply nothing.
    `digest`: a conflict, unless this is the digest of the configuration that the candidate was made from.
    """

    comment: Line = ""
    confirm_minutes: int | None = None
    check_only: bool = False
    digest: Word = ""


class Confirm(SessionVerb, frozen=True, kw_only=True, tag="config.confirm"):
    """Keep a commit that waits for confirmation. Result: None."""


class Discard(SessionVerb, frozen=True, kw_only=True, tag="config.discard"):
    """Throw the candidate away. Result: None."""


class Rollback(SessionVerb, frozen=True, kw_only=True, tag="config.rollback"):
    """Load revision `revision` into the candidate and commit it. Result: `Committed`."""

    revision: int


class CompareRevisions(SessionVerb, frozen=True, kw_only=True, tag="config.compare"):
    """What differs between two kept revisions, from `before` to `after`. Result: tuple[Change, ...]."""

    before: int
    after: int


class ListRevisions(SessionVerb, frozen=True, kw_only=True, tag="config.revisions"):
    """The kept revisions, newest first. Result: tuple[Revision, ...]."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference; a secret's value is masked. `before`/`after` None: was not / will not be there."""

    path: Path
    before: Any = None
    after: Any = None


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """What a commit did. `changed` False: nothing was different, no revision was made."""

    changed: bool
    revision: int
    changes: tuple[Change, ...] = ()
    files: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    confirm_by: str = ""
    digest: str = ""
    """Of what runs then."""


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """One kept configuration."""

    number: int
    when: str
    user: str
    comment: str
    current: bool
