"""SSH for administrators. Algorithms are fixed when the machine is made (10-crypto.conf; sshd takes the first value it reads)."""

from collections.abc import Mapping

from appliance.features import accounts, banner, users, values
from appliance.features.base import Check, Feature, File, Flow, Tree, Unit
from appliance.features.template import filled

CONFIGURATION = "/etc/ssh/sshd_config.d/50-sentry.conf"
AUTOMATION_GROUP = "sentry-automation"
PORT = 22


def render(tree: Tree) -> Mapping[str, File]:
    """What administrators and the automation account may do over SSH.

    sshd's `MaxSessions` bounds the channels of one connection only. The number of sessions at once is held by configd,
    where each command line opens one; pam_limits would count systemd's per-user managers as log-ins too.
    """
    text = filled(
        "sshd.conf.j2",
        ssh=tree["ssh"],
        idle_minutes=tree["cli"]["idle_minutes"],
        banner=banner.SSH_TEXT,
        keys=users.KEYS_FOLDER,
        administrators=accounts.GROUP,
        automation=AUTOMATION_GROUP,
    )
    return {CONFIGURATION: File(text, mode=0o600)}


def flows(tree: Tree) -> tuple[Flow, ...]:
    """Port 22 from the management networks."""
    return (Flow("ssh", "in", "tcp", PORT, zone="management", peers=tuple(tree["firewall"]["management_networks"])),)


FEATURE = Feature(
    name="ssh",
    label="SSH",
    default={},
    schema=values.group(
        "SSH",
        "The administrators' way in on port 22.",
        max_sessions=values.number(
            "Max SSH sessions",
            "How many administrators' sessions there may be at once (V-250982: 1 to 10).",
            low=1,
            high=10,
            default=5,
        ),
        password_authentication=values.switch("Passwords", "Whether a password logs in, or only a key.", default=True),
        max_auth_tries=values.number("Tries", "Wrong log-ins in one connection.", low=1, high=6, default=3),
        login_grace_seconds=values.number(
            "Log-in time (seconds)", "Who has not logged in by then is cut.", low=10, high=120, default=60
        ),
    ),
    render=render,
    flows=flows,
    checks=(Check(("sshd", "-t", "-f", f"{{{CONFIGURATION}}}"), needs=(CONFIGURATION,)),),
    units=(Unit("ssh.service", "reload", (CONFIGURATION,)),),
)
