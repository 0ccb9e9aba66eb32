"""The lab's guest: a bare Debian 13 with sshd and an automation account, as a real host would be before provisioning."""

from pathlib import Path

from images import guest as guests
from images.guest import Guest, Spec, wait_for
from images.lab.zones import GUEST, MAIL_ADDRESS, MAIL_SERVER, MANAGEMENT, ZONES
from images.network import PREFIX
from images.paths import REPO, Layout, write_file
from images.rootfs import appliance_tree, build
from images.run import run

BUILDER = "builder"

# A guest may not set its host's clock, so chrony's unit would not start it; without doing so it still asks its servers.
_CHRONY = """\
[Unit]
ConditionCapability=

[Service]
ExecStart=
ExecStart=!/usr/sbin/chronyd -x $DAEMON_OPTS
"""

_HOST_KEYS_UNIT = """\
[Unit]
Description=Make this machine's SSH host keys
ConditionPathExists=!/etc/ssh/ssh_host_ecdsa_key
Before=ssh.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
"""


def ensure_tree(layout: Layout) -> tuple[Path, str]:
    """The root tree's tar file and the digest of its inputs."""
    tree = appliance_tree(REPO / "roles" / "base" / "vars" / "main.yml")
    return build(tree, layout.trees), tree.digest


def ensure_guest(layout: Layout, tar: Path, digest: str) -> tuple[Guest, bool]:
    """The running guest, and whether it was booted now. One made of another tree is ended first."""
    running = guests.find(GUEST, layout)
    if running is not None and running.tree == digest:
        return running, False
    if running is not None:
        guests.stop(running, layout)
    links = tuple(zone.link for zone in ZONES)
    key = (layout.secrets / f"{BUILDER}.pub").read_text(encoding="utf-8")
    guest = guests.boot(Spec(GUEST, tar, digest, links, lambda root: prepare(root, key)), layout)
    wait_for(lambda: guests.answers(MANAGEMENT.address, 22), f"sshd at {MANAGEMENT.address}:22")
    return guest, True


def prepare(root: Path, builder_key: str) -> None:
    """Make the extracted tree this machine's: its name, its automation account, host keys of its own at first boot."""
    write_file(root / "etc/hostname", f"{GUEST}\n")
    write_file(root / "etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {GUEST}\n{MAIL_ADDRESS} {MAIL_SERVER}\n")
    run(["chroot", root, "useradd", "--create-home", "--shell", "/bin/bash", "--password", "*", BUILDER])
    write_file(root / f"etc/ssh/authorized_keys.d/{BUILDER}", builder_key)
    # A bare Debian looks into home folders only; the appliance's own sshd configuration takes this place over.
    write_file(
        root / "etc/ssh/sshd_config.d/00-lab-bootstrap.conf",
        "AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/authorized_keys.d/%u\n",
    )
    write_file(root / f"etc/sudoers.d/{BUILDER}", f"{BUILDER} ALL=(ALL:ALL) NOPASSWD: ALL\n", 0o440)
    write_file(root / "etc/systemd/system/lab-host-keys.service", _HOST_KEYS_UNIT)
    write_file(root / "etc/systemd/system/chrony.service.d/90-lab.conf", _CHRONY)
    for zone in ZONES:
        # The host's own network configuration, as any Debian has one: what stands when the appliance's is taken back.
        text = f"[Match]\nName={zone.link.guest_interface}\n\n[Network]\nAddress={zone.address}/{PREFIX}\n"
        write_file(root / f"etc/systemd/network/90-lab-{zone.link.guest_interface}.network", text)
    run(["systemctl", f"--root={root}", "enable", "lab-host-keys.service", "systemd-networkd.service"])


def write_known_hosts(guest: Guest, layout: Layout) -> None:
    """Write the guest's host keys, as its own tree holds them, for each of its addresses."""
    keys = sorted((guest.root / "etc/ssh").glob("ssh_host_*_key.pub"))
    if not keys:
        raise guests.GuestError(f"{guest.name} has made no SSH host keys in {guest.root / 'etc/ssh'}")
    lines: list[str] = []
    for path in keys:
        kind, value = path.read_text(encoding="utf-8").split()[:2]
        lines.extend(f"{zone.address} {kind} {value}\n" for zone in ZONES)
    write_file(layout.known_hosts, "".join(lines))
