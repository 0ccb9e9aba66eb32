"""The administrators' command line: idle time and the secret of `enable`. configd reads these; no file is rendered."""

from appliance.features import values
from appliance.features.base import Feature

IDLE_MINUTES = 10  # V-250996 (management sessions)


FEATURE = Feature(
    name="cli",
    label="Command line",
    default={},
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
