"""The SSH server's effective settings for an administrator, the client's, and the keys of the machine."""

from stig.facts import Facts
from stig.parse import words
from stig.platform.files import mode_points, parsed
from stig.platform.proof import Proof, Setting, Want, exactly, found_lines, judged, only, table, within
from stig.verdict import Verdict

CIPHERS = only("aes256-gcm@openssh.com", "aes128-gcm@openssh.com", "aes256-ctr", "aes192-ctr", "aes128-ctr")
MACS = only("hmac-sha2-512-etm@openssh.com", "hmac-sha2-256-etm@openssh.com", "hmac-sha2-512", "hmac-sha2-256")
EXCHANGES = only("ecdh-sha2-nistp256", "ecdh-sha2-nistp384", "ecdh-sha2-nistp521")
SIGNATURES = only("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-256", "rsa-sha2-512")
NO, YES = exactly("no"), exactly("yes")
GIGABYTE, HOUR = 1_073_741_824, 3_600


def _rekeys(found: str | None) -> bool:
    numbers = (found or "").split()
    return (
        len(numbers) == 2
        and all(one.isdigit() for one in numbers)
        and 0 < int(numbers[0]) <= GIGABYTE
        and 0 < int(numbers[1]) <= HOUR
    )


SERVER = (
    Setting("SENTRY-OS-0301", "permitrootlogin", NO),
    Setting("SENTRY-OS-0302", "permitemptypasswords", NO),
    Setting("SENTRY-OS-0302", "permituserenvironment", NO),
    Setting("SENTRY-OS-0303", "x11forwarding", NO),
    Setting("SENTRY-OS-0304", "x11uselocalhost", YES),
    Setting("SENTRY-OS-0305", "ciphers", CIPHERS),
    Setting("SENTRY-OS-0306", "macs", MACS),
    Setting("SENTRY-OS-0307", "kexalgorithms", EXCHANGES),
    Setting("SENTRY-OS-0310", "hostkeyalgorithms", SIGNATURES),
    Setting("SENTRY-OS-0310", "pubkeyacceptedalgorithms", SIGNATURES),
    Setting("SENTRY-OS-0310", "casignaturealgorithms", SIGNATURES),
    Setting("SENTRY-OS-0310", "requiredrsasize", within(2048)),
    Setting("SENTRY-OS-0311", "usepam", YES),
    Setting("SENTRY-OS-0312", "clientalivecountmax", within(1, 1)),
    Setting("SENTRY-OS-0313", "clientaliveinterval", within(1, 600)),
    Setting("SENTRY-OS-0314", "pubkeyauthentication", YES),
    Setting("SENTRY-OS-0315", "hostbasedauthentication", NO),
    Setting("SENTRY-OS-0316", "ignorerhosts", YES),
    Setting("SENTRY-OS-0317", "ignoreuserknownhosts", YES),
    Setting("SENTRY-OS-0318", "strictmodes", YES),
    Setting("SENTRY-OS-0319", "kerberosauthentication", NO),
    Setting("SENTRY-OS-0320", "gssapiauthentication", NO),
    Setting("SENTRY-OS-0321", "compression", exactly("no", "delayed")),
    Setting("SENTRY-OS-0322", "rekeylimit", Want("at most 1 GiB and at most one hour", _rekeys)),
    Setting("SENTRY-OS-0323", "loglevel", exactly("VERBOSE")),
    Setting("SENTRY-OS-0324", "printlastlog", YES),
    Setting("SENTRY-OS-0325", "banner", exactly("/etc/issue.net")),
    Setting("SENTRY-OS-0326", "disableforwarding", YES),
    Setting("SENTRY-OS-0326", "permituserrc", NO),
    Setting("SENTRY-OS-0327", "logingracetime", within(1, 60)),
    Setting("SENTRY-OS-0327", "maxauthtries", within(1, 4)),
)
CLIENT = (
    Setting("SENTRY-OS-0308", "ciphers", CIPHERS),
    Setting("SENTRY-OS-0309", "macs", MACS),
)


def server(rows: tuple[Setting, ...], facts: Facts) -> Verdict:
    """What sshd does for an administrator who comes from where the scanner stands."""
    return Verdict(judged(rows, "sshd -T -C user=<administrator>", words.settings(facts.lines("sshd"))))


def client(rows: tuple[Setting, ...], facts: Facts) -> Verdict:
    """What ssh would offer to any server."""
    return Verdict(judged(rows, "ssh -G localhost", words.settings(facts.lines("ssh_client"))))


def keys(facts: Facts) -> Verdict:
    """The private halves are root's alone; the public ones can be changed by nobody else."""
    found = parsed(found_lines(facts, "host_keys"))
    private = tuple(one for one in found if not one.path.endswith(".pub"))
    public = tuple(one for one in found if one.path.endswith(".pub"))
    command = "find /etc/ssh -name ssh_host_*"
    return Verdict((*mode_points(command, private, 0o600, "root"), *mode_points(command, public, 0o644, "root")))


def groups(facts: Facts) -> Verdict:
    """Only members of named groups get in at all."""
    named = [line.split(None, 1)[1] for line in facts.lines("sshd") if line.lower().startswith("allowgroups ")]
    want = Want(
        "groups of the appliance (sentry-...), and no pattern",
        lambda _found: bool(named) and all(one.startswith("sentry-") for one in named),
    )
    values = {"allowgroups": ", ".join(named)} if named else {}
    return Verdict(judged([Setting("SENTRY-OS-0328", "allowgroups", want)], "sshd -T", values))


def settings_files(facts: Facts) -> Verdict:
    """Nobody but root changes what sshd reads."""
    found = parsed(found_lines(facts, "stated"))
    main = tuple(one for one in found if one.path == "/etc/ssh/sshd_config")
    parts = tuple(one for one in found if one.path.startswith("/etc/ssh/sshd_config.d/"))
    return Verdict((*mode_points("stat", main, 0o600, "root"), *mode_points("stat", parts, 0o644, "root")))


PROOFS = (
    *table(SERVER, server),
    *table(CLIENT, client),
    Proof("SENTRY-OS-0328", groups),
    Proof("SENTRY-OS-0329", keys),
    Proof("SENTRY-OS-0330", settings_files),
)
