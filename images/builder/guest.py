"""The tree that an image is made from: Debian with a kernel, booted once as a guest so that the roles are applied to it as they
are to any host, over SSH; then shut down."""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import yaml

from images import guest as guests
from images.guest import Guest, Spec, wait_for
from images.network import PREFIX, Link
from images.paths import REPO, Layout, write_file
from images.rootfs import Tree, appliance_tree
from images.run import run, stream

GUEST = "sentry-image"
BUILDER = "builder"
LINK = Link("image-build", "mgmt0", "10.98.9.1", "10.98.9.2")  # apart from the lab's networks: both may run at once

# What a machine of its own needs beyond what a container does. cryptsetup: dm-verity, which systemd-cryptsetup sets up;
# grub-common: grub-editenv, with which RAUC writes what the boot menu reads, and grub-fstest, with which a scan reads the menu.
# mokutil: whether Secure Boot is on.
PACKAGES = (
    "cryptsetup-bin",
    "dmsetup",
    "dracut",
    "e2fsprogs",
    "grub-common",
    "kmod",
    "linux-image-cloud-amd64",
    "mokutil",
    "mount",
    "rauc",
    "rauc-service",
    "systemd-cryptsetup",
    "systemd-repart",
    "udev",
    "zstd",
)

_HOST_KEYS_UNIT = """\
[Unit]
Description=Make the SSH host keys of the guest that an image is built in
ConditionPathExists=!/etc/ssh/ssh_host_ecdsa_key
Before=ssh.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
"""


def image_tree() -> Tree:
    """The appliance's tree, and a kernel with what starts it."""
    base = appliance_tree(REPO / "roles" / "base" / "vars" / "main.yml")
    return replace(base, packages=tuple(sorted({*base.packages, *PACKAGES})))


@contextmanager
def provisioned(tar: Path, digest: str, layout: Layout, work: Path) -> Iterator[Path]:
    """The tree with all roles applied, its guest shut down. Whatever happens, no guest is left running."""
    left = guests.find(GUEST, layout)
    if left is not None:  # of a build that was killed
        guests.stop(left, layout)
    key = _key(work)
    public = key.with_suffix(".pub").read_text(encoding="utf-8")
    guest = guests.boot(
        Spec(GUEST, tar, digest, (LINK,), lambda root: prepare(root, public), dies_with_us=True), layout
    )
    try:
        wait_for(lambda: guests.answers(LINK.guest_address, 22), f"sshd at {LINK.guest_address}:22")
        _provision(guest, key, work)
    finally:
        guests.stop(guest, layout)
    try:
        yield guest.root
    finally:
        shutil.rmtree(guest.root.parent)


def prepare(root: Path, key: str) -> None:
    """A bare Debian with sshd and an automation account, as a real host is before the roles are applied."""
    write_file(root / "etc/hostname", f"{GUEST}\n")
    write_file(root / "etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {GUEST}\n")
    run(["chroot", root, "useradd", "--create-home", "--shell", "/bin/bash", "--password", "*", BUILDER])
    write_file(root / f"etc/ssh/authorized_keys.d/{BUILDER}", key)
    bootstrap = "AuthorizedKeysFile .ssh/authorized_keys /etc/ssh/authorized_keys.d/%u\n"
    write_file(root / "etc/ssh/sshd_config.d/00-lab-bootstrap.conf", bootstrap)
    write_file(root / f"etc/sudoers.d/{BUILDER}", f"{BUILDER} ALL=(ALL:ALL) NOPASSWD: ALL\n", 0o440)
    write_file(root / "etc/systemd/system/lab-host-keys.service", _HOST_KEYS_UNIT)
    network = f"[Match]\nName={LINK.guest_interface}\n\n[Network]\nAddress={LINK.guest_address}/{PREFIX}\n"
    write_file(root / f"etc/systemd/network/90-lab-{LINK.guest_interface}.network", network)
    run(["systemctl", f"--root={root}", "enable", "lab-host-keys.service", "systemd-networkd.service"])


def _key(work: Path) -> Path:
    place = work / "builder-key"
    run(["ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "", "-C", BUILDER, "-f", place])
    return place


def _provision(guest: Guest, key: Path, work: Path) -> None:
    """playbooks/provision.yml without a site: an image has no configuration."""
    known = work / "known_hosts"
    kind, value = (guest.root / "etc/ssh/ssh_host_ecdsa_key.pub").read_text(encoding="utf-8").split()[:2]
    write_file(known, f"{LINK.guest_address} {kind} {value}\n")
    options = f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
    host = {
        "ansible_host": LINK.guest_address,
        "ansible_user": BUILDER,
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": options,
    }
    inventory = work / "inventory.yml"
    write_file(inventory, "---\n" + yaml.safe_dump({"all": {"hosts": {"image": host}}}))
    program = Path(sys.executable).with_name("ansible-playbook")
    with tempfile.TemporaryDirectory(prefix="img-") as connections:
        settings = {
            "ANSIBLE_CONFIG": str(REPO / "ansible.cfg"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": connections,
            "ANSIBLE_FORCE_COLOR": "0",
            "PYTHONUNBUFFERED": "1",
        }
        try:
            stream([program, "-i", inventory, "playbooks/provision.yml"], cwd=REPO, env=settings)
        finally:
            for connection in Path(connections).iterdir():
                run(["ssh", "-F", "none", "-o", f"ControlPath={connection}", "-O", "exit", "image"], check=False)
