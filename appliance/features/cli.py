"""The administrators' command line: idle time and the secret of `enable`. configd reads these; no file is rendered."""

from collections.abc import Iterable

from appliance.features import values
from appliance.features.base import Feature, Problem, Tree

IDLE_MINUTES = 10  # V-250996 (management sessions)


def verify_change(before: Tree, after: Tree) -> Iterable[Problem]:
    """The secret of `enable` is changed, never taken away: nobody could go privileged to set it again."""
    if before["cli"].get("enable_secret_hash") and not after["cli"].get("enable_secret_hash"):
        yield Problem("cli.enable_secret_hash", "nothing, where one is set", values.PASSWORD_HASH)


FEATURE = Feature(
    name="cli",
    label="Command line",
    default={},
    verify_change=verify_change,
    schema=values.group(
        "Command line",
        "The administrators' sessions over SSH and at the console.",
        idle_minutes=values.number(
            "Session timeout (minutes)",
            "An idle session ends, and its connection with it. The STIG allows at most 10.",
            low=1,
            high=60,
            default=IDLE_MINUTES,
        ),
        enable_secret_hash=values.described(
            values.HASH_KIND,
            "Enable secret",
            "SHA-512 crypt hash of the secret that `enable` asks for. Without it nobody can go privileged.",
        ),
    ),
)
