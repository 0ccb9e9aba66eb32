"""A secret in a file of its own, for root and one service's group alone. Nothing of it is ever in an argument list."""

from appliance.features.base import System

MODE = "640"


def put(place: str, secret: str, group: str, system: System) -> bool:
    """Have `secret` lie there; whether that took anything. Raises `CommandError`."""
    if system.read(place) == secret and is_for(group, place, system):
        return False
    new = f"{place}.new"
    # `install` makes the file 0600, and gives it away when it is complete.
    system.run(["install", "-o", "root", "-g", group, "-m", f"0{MODE}", "--", "/dev/stdin", new], stdin=secret)
    system.run(["mv", "-f", "-T", "--", new, place])
    return True


def remove(place: str, system: System) -> bool:
    """Have nothing lie there; whether that took anything. Raises `CommandError`."""
    if system.read(place) is None:
        return False
    system.run(["rm", "-f", "--", place])
    return True


def is_for(group: str, place: str, system: System) -> bool:
    """Whether the file that lies there is root's, for `group` and nobody else. Raises `CommandError`."""
    return system.run(["stat", "-c", "%a %U:%G", "--", place]).strip() == f"{MODE} root:{group}"
