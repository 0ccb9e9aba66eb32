"""The account files of a tree as text: an account less, a shell less, no date that tells when (passwd(5), shadow(5))."""

from collections.abc import Callable, Sequence

NOLOGIN = "/usr/sbin/nologin"
SECONDS_A_DAY = 86_400


def without_account(text: str, name: str) -> str:
    """passwd, shadow, subuid or subgid without the account of this name."""
    return _kept(text, lambda fields: fields[0] != name)


def without_member(text: str, name: str) -> str:
    """group or gshadow without the account's own group, and without the account in any other."""
    lines = []
    for line in text.splitlines():
        fields = line.split(":")
        if fields[0] == name:
            continue
        fields[-1] = ",".join(member for member in fields[-1].split(",") if member != name)
        if len(fields) == 4 and not fields[2].isdigit():  # gshadow: the third field names the group's administrators
            fields[2] = ",".join(one for one in fields[2].split(",") if one != name)
        lines.append(":".join(fields))
    return _text(lines)


def with_shell(text: str, name: str, shell: str) -> str:
    """passwd with this log-in shell for the account of this name."""
    lines = []
    for line in text.splitlines():
        fields = line.split(":")
        if fields[0] == name:
            fields[6] = shell
        lines.append(":".join(fields))
    return _text(lines)


def changed_on(text: str, moment: int) -> str:
    """shadow with the day of `moment` (seconds since 1970) as that of every password's last change."""
    lines = []
    for line in text.splitlines():
        fields = line.split(":")
        fields[2] = str(moment // SECONDS_A_DAY)
        lines.append(":".join(fields))
    return _text(lines)


def _kept(text: str, wanted: Callable[[Sequence[str]], bool]) -> str:
    return _text([line for line in text.splitlines() if wanted(line.split(":"))])


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
