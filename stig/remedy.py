"""What mends an open rule: a tag of the playbook, a setting, or somebody's hand.

A rule's entry in the catalogue names a file of this project (`mended_in`), or `remedies.yaml` has what mends it. A file of a role
is put in place by `provision.yml` with the rule's own tag; what configd renders is mended by the next commit.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from stig.errors import InputError
from stig.rules import Data

FILE = "remedies.yaml"
ROLES = "roles/"
PLAYBOOK = "playbooks/provision.yml"
Kind = Literal["tag", "setting", "render", "by_hand", "unknown"]


class Remedy(Data, frozen=True, kw_only=True):
    """One entry: exactly one of the three says how."""

    id: Annotated[str, msgspec.Meta(pattern=r"^(V-\d{6}|SENTRY-OS-\d{4})$")]
    mended_in: str = ""
    setting: str = ""
    by_hand: str = ""

    def __post_init__(self) -> None:
        """Refuse an entry that says nothing, or two things."""
        if sum(map(bool, (self.mended_in, self.setting, self.by_hand))) != 1:
            raise ValueError(f"{self.id}: exactly one of mended_in, setting and by_hand")


class Remedies(Data, frozen=True, kw_only=True):
    """The file."""

    rules: tuple[Remedy, ...]


def load(folder: Path) -> dict[str, Remedy]:
    """The remedies of the file, by their rules; an `InputError` names what is wrong with it."""
    path = folder / FILE
    try:
        listed = msgspec.yaml.decode(path.read_bytes(), type=Remedies).rules
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise InputError(f"{path}: {error}") from error
    found = {one.id: one for one in listed}
    if len(found) != len(listed):
        raise InputError(f"{path}: a rule appears twice")
    return found


def of_file(rule: str, mended_in: str) -> Remedy:
    """The remedy of a rule that names its file itself."""
    return Remedy(id=rule, mended_in=mended_in)


def kind(remedy: Remedy | None) -> Kind:
    """Which way it is mended."""
    if remedy is None:
        return "unknown"
    if remedy.setting:
        return "setting"
    if remedy.by_hand:
        return "by_hand"
    return "tag" if remedy.mended_in.startswith(ROLES) else "render"


def words(remedy: Remedy | None) -> str:
    """The same for people; empty where nothing is known."""
    match kind(remedy), remedy:
        case "tag", Remedy(id=rule):
            return f"ansible-playbook {PLAYBOOK} --tags {rule}"
        case "setting", Remedy(setting=setting):
            return f"by configuration: set {setting.replace('.', ' ')}"
        case "render", Remedy(mended_in=file):
            return f"by configuration: a commit renders it anew ({file})"
        case "by_hand", Remedy(by_hand=said):
            return f"by hand: {said}"
    return ""


def checked(remedies: Mapping[str, Remedy], rules: Iterable[str]) -> None:
    """`InputError` for a remedy of a rule that there is not."""
    unknown = sorted(set(remedies) - set(rules))
    if unknown:
        raise InputError(f"{FILE}: {unknown[0]} is no rule of the catalogue")
