"""A tree with all that a build leaves is sealed, and then no rule of hygiene is broken; and each rule is seen to be broken."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from images.disk import layout
from images.paths import REPO
from images.seal import accounts, hygiene
from images.seal.hygiene import breaches
from images.seal.seal import RECORD, Sealed, SealError, seal

SEALED = Sealed("builder", "1.2.3")
KEY = "-----BEGIN PRIVATE KEY-----\n" + "QUJD" * 30 + "\n-----END PRIVATE KEY-----\n"

# A tree as the builder's guest leaves it: path -> content; a folder ends with a slash.
LEFT = {
    "boot/vmlinuz-6.12.1-cloud-amd64": "kernel",
    "boot/initrd.img-6.12.1-cloud-amd64": "the package's own",
    "etc/apparmor.d/steam": "profile steam /usr/games/steam {\n}\n",
    "etc/fstab": "# UNCONFIGURED\n",
    "etc/group": "root:x:0:\nsentry-automation:x:990:builder\nadm:x:4:syslog,builder\nbuilder:x:1000:\n",
    "etc/gshadow": "root:*::\nsentry-automation:!::builder\nadm:*::syslog,builder\nbuilder:!::\n",
    "etc/group-": "old\n",
    "etc/hostname": "sentry-image\n",
    "etc/hosts": "127.0.1.1 sentry-image\n",
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "etc/nftables.conf": "table inet filter {}\n",
    "etc/passwd": (
        "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:/usr/sbin/nologin\n"
        "sentry-agent:x:995:995:Sentry agent:/:/usr/sbin/nologin\nbuilder:x:1000:1000::/home/builder:/bin/bash\n"
    ),
    "etc/passwd-": "old\n",
    "etc/resolv.conf": "nameserver 192.0.2.1\n",
    "etc/sentry/runtime.json": "{}",
    "etc/shadow": (
        "root:*:20000:0:99999:7:::\ndaemon:*:20000:0:99999:7:::\nsentry-agent:!*:20400::::::\n"
        "builder:*:20400:0:99999:7:::\n"
    ),
    "etc/shadow-": "old\n",
    "etc/ssh/authorized_keys.d/builder": "ecdsa-sha2-nistp384 AAAA builder\n",
    "etc/ssh/ssh_host_ecdsa_key": KEY,
    "etc/ssh/ssh_host_ecdsa_key.pub": "ecdsa-sha2-nistp256 AAAA\n",
    "etc/ssh/sshd_config": "UsePAM yes\n",
    "etc/ssl/fipsmodule.cnf": "install-mac = 00\n",
    "etc/subgid": "builder:100000:65536\n",
    "etc/subuid": "builder:100000:65536\n",
    "etc/sudoers": "Defaults env_reset\nroot  ALL=(ALL:ALL) ALL\nbuilder  ALL=(ALL:ALL) NOPASSWD: ALL\n",
    "etc/sudoers.d/builder": "builder ALL=(ALL:ALL) NOPASSWD: ALL\n",
    "etc/systemd/network/90-lab-mgmt0.network": "[Match]\n",
    "etc/systemd/system/lab-host-keys.service": "[Unit]\n",
    "etc/sysusers.d/sentry.conf": "u sentry-agent -\nm sentry-agent sentry-runtime\nm builder sentry-automation\n",
    "home/builder/.ansible/tmp/x": "leftover",
    "home/builder/.bash_history": "ls\n",
    "root/.ssh/known_hosts": "x\n",
    "run/utmp": "x",
    "tmp/ansible": "x",
    "usr/bin/sudo": "sudo",
    "usr/lib/sentry/0123/RELEASE": "{}",
    "usr/lib/sentry/bin/sentry-cli": "#!/usr/bin/python3 -I\n",
    "var/cache/apt/pkgcache.bin": "x",
    "var/cache/cracklib/cracklib_dict.pwd": "words",
    "var/lib/apt/lists/deb_InRelease": "x",
    "var/lib/chrony/chrony.drift": "1.0",
    "var/lib/dbus/": "",
    "var/lib/dpkg/lock": "",
    "var/lib/dpkg/status": "Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n",
    "var/lib/dpkg/info/a.list": "/.\n",
    "var/lib/sentry/config/running.yml": "hostname: x\n",
    "var/lib/sentry/tls/gateway/key.pem": KEY,
    "var/lib/systemd/catalog/database": "catalog",
    "var/lib/systemd/random-seed": "seed",
    "var/log/audit/audit.log": "x",
    "var/log/journal/0123456789abcdef0123456789abcdef/system.journal": "x",
    "var/log/sentry/audit.log": "x",
    "var/tmp/x": "x",
}
LINKS = {
    "etc/systemd/system/multi-user.target.wants/lab-host-keys.service": "/etc/systemd/system/lab-host-keys.service",
    "etc/localtime": "/usr/share/zoneinfo/Etc/UTC",
    "usr/lib/sentry/current": "0123",
    "var/run": "/run",
    "vmlinuz": "boot/vmlinuz-6.12.1-cloud-amd64",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What the builder's guest leaves."""
    root = tmp_path / "tree"
    for name, content in LEFT.items():
        place = root / name
        (place if name.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            place.write_text(content)
    for name, target in LINKS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(target)
    (root / "usr/bin/sudo").chmod(0o4755)
    for name in ("tmp", "var/tmp"):
        (root / name).chmod(0o1777)
    return root


@pytest.fixture
def sealed(tree: Path) -> Path:
    """The same, sealed."""
    seal(tree, SEALED)
    return tree


def names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_symlink() or not path.is_dir()}


def test_before_it_is_sealed_a_tree_breaks_most_rules(tree: Path) -> None:
    broken = {line.split(":")[0] for line in breaches(tree)}
    assert len(broken) >= 14
    assert {"SSH host key", "private key", "account of a person", "right to become root", "log"} <= broken


def test_a_sealed_tree_breaks_none(sealed: Path) -> None:
    assert breaches(sealed) == []


def test_what_stays_is_what_packages_and_roles_brought(sealed: Path) -> None:
    left = names(sealed)
    assert {
        "boot/vmlinuz-6.12.1-cloud-amd64", "etc/ssh/sshd_config", "usr/bin/sudo", "usr/lib/sentry/0123/RELEASE",
        "var/cache/cracklib/cracklib_dict.pwd", "var/lib/systemd/catalog/database", "etc/localtime", "var/run",
    } <= left  # fmt: skip
    assert {name for name in left if name.startswith("var/")} == {
        "var/cache/cracklib/cracklib_dict.pwd", "var/lib/dbus/machine-id", "var/lib/dpkg",
        "var/lib/systemd/catalog/database", "var/run",
    }  # fmt: skip


def test_the_builder_is_in_no_account_file(sealed: Path) -> None:
    for name in ("passwd", "shadow", "group", "gshadow", "subuid", "subgid", "sudoers", "sysusers.d/sentry.conf"):
        assert "builder" not in (sealed / "etc" / name).read_text(), name
    assert "adm:x:4:syslog\n" in (sealed / "etc/group").read_text()
    assert "m sentry-agent sentry-runtime\n" in (sealed / "etc/sysusers.d/sentry.conf").read_text()


def test_nobody_has_a_unix_shell_and_no_date_tells_when_it_was_built(sealed: Path) -> None:
    assert "root:x:0:0:root:/root:/usr/sbin/nologin\n" in (sealed / "etc/passwd").read_text()
    days = {line.split(":")[2] for line in (sealed / "etc/shadow").read_text().splitlines()}
    assert days == {"20332"}  # 2025-09-01


def test_daemons_find_their_folders(sealed: Path) -> None:
    for name in ("var/log/audit", "var/lib/chrony", "var/log/sentry", "home", "var/tmp"):
        assert (sealed / name).is_dir(), name


def test_the_record_of_packages_is_the_images_and_found_where_it_was(sealed: Path) -> None:
    assert (sealed / "var/lib/dpkg").readlink() == Path(f"/{RECORD}")
    assert (sealed / RECORD / "status").is_file()
    assert not (sealed / RECORD / "lock").exists()


def test_the_parts_of_a_sealed_image_come(sealed: Path) -> None:
    assert sorted(path.name for path in (sealed / "usr/lib/sentry/repart.d").iterdir()) == list(layout.repart())
    assert (sealed / "usr/lib/sentry/kept").read_text().splitlines() == list(layout.KEPT)
    assert os.access(sealed / "usr/lib/sentry/bin/sentry-keep", os.X_OK)
    wants = sealed / "etc/systemd/system/multi-user.target.wants"
    assert sorted(path.name for path in wants.iterdir()) == [
        "sentry-first-boot.service",
        "sentry-host-keys.service",
        "sentry-keep.path",
        "sentry-keep.service",
        "sentry-setup@tty1.service",
        "sentry-setup@ttyS0.service",
    ]
    template = Path("/usr/lib/systemd/system/sentry-setup@.service")
    assert (wants / "sentry-setup@tty1.service").readlink() == template
    assert (sealed / template.relative_to("/")).is_file()
    assert (sealed / "etc/systemd/system/systemd-repart.service").readlink() == Path("/dev/null")
    assert (sealed / "etc/systemd/system/sentry-facts.service.d/70-image.conf").is_file()
    dropin = sealed / "etc/systemd/system/nftables.service.d/70-image.conf"
    assert "ConditionPathExists=/etc/nftables.conf\n" in dropin.read_text()


def test_the_timers_that_the_roles_enable_may_be_in_an_image() -> None:
    enabled = yaml.safe_load((REPO / "roles/os_hardening/vars/main.yml").read_text())["os_hardening_enabled"]
    timers = {unit for unit in enabled if unit.endswith(".timer")}
    assert timers
    assert timers <= hygiene.TIMERS


def test_sealing_again_changes_nothing(sealed: Path) -> None:
    def content() -> dict[str, bytes]:
        return {name: (sealed / name).read_bytes() for name in names(sealed) if (sealed / name).is_file()}

    before = content()
    seal(sealed, SEALED)
    assert content() == before


def test_a_tree_without_our_release_is_not_sealed(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    with pytest.raises(SealError, match="no release of Sentry"):
        seal(tmp_path, SEALED)


def write(name: str, content: str = "x", mode: int = 0o644) -> Callable[[Path], None]:
    def spoil(tree: Path) -> None:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(content)
        (tree / name).chmod(mode)

    return spoil


def append(name: str, line: str) -> Callable[[Path], None]:
    def spoil(tree: Path) -> None:
        with (tree / name).open("a") as file:
            file.write(f"{line}\n")

    return spoil


SPOILT = {
    "SSH host key": write("etc/ssh/ssh_host_rsa_key"),
    "key that lets somebody in": write("usr/share/x/.ssh/authorized_keys"),
    "private key": write("usr/lib/x/server.pem", KEY),
    "password": append("etc/shadow", "daemon2:$6$salt$hash:1::::::"),
    "account of a person": append("etc/passwd", "eve:x:1001:1001::/:/usr/sbin/nologin"),
    "account to be made": append("etc/sysusers.d/sentry.conf", "m eve sudo"),
    "second root": append("etc/passwd", "toor:x:0:0::/:/usr/sbin/nologin"),
    "shell": append("etc/passwd", "game:x:5:60::/:/bin/sh"),
    "right to become root": append("etc/sudoers", "eve ALL=(ALL) ALL"),
    "machine id": append("etc/machine-id", "0123"),
    "machine's own state": write("var/lib/systemd/random-seed"),
    "log": write("var/log/sentry/audit.log"),
    "history or leftover": write("root/.bash_history"),
    "cache of apt": write("var/cache/apt/pkgcache.bin"),
    "cloud instance": write("var/lib/cloud/instance/id"),
    "state of Sentry": write("var/lib/sentry/tls/ca.pem"),
    "backup of an account file": write("etc/shadow-"),
    "core dump": write("core"),
    "file with set-user-id or set-group-id": write("usr/bin/tool", mode=0o2755),
    "place that everybody may write": write("usr/lib/tool", mode=0o666),
    "socket that systemd listens on": write("etc/systemd/system/sockets.target.wants/telnet.socket"),
    "timer": write("usr/lib/systemd/system/timers.target.wants/phone-home.timer"),
    "AppArmor profile of no program": write("etc/apparmor.d/opera", "profile opera /usr/bin/opera {\n}\n"),
    "trace of the builder": write("etc/systemd/network/90-lab-mgmt0.network"),
}


def test_every_rule_is_seen_to_be_broken() -> None:
    assert list(SPOILT) == [rule.name for rule in hygiene.RULES]


@pytest.mark.parametrize("rule", SPOILT)
def test_a_rule_that_is_broken_is_named_with_the_place(sealed: Path, rule: str) -> None:
    SPOILT[rule](sealed)
    found = breaches(sealed)
    assert [line for line in found if line.startswith(f"{rule}: ")], found


def test_an_account_that_needs_no_password_is_one_too_many(sealed: Path) -> None:
    append("etc/shadow", "open::1::::::")(sealed)
    assert [line for line in breaches(sealed) if "open" in line]


def test_a_folder_that_all_may_write_must_be_sticky(sealed: Path) -> None:
    (sealed / "tmp").chmod(0o777)
    assert breaches(sealed) == ["place that everybody may write: tmp"]


def test_a_masked_socket_is_none(sealed: Path) -> None:
    SPOILT["socket that systemd listens on"](sealed)
    (sealed / "etc/systemd/system/telnet.socket").symlink_to("/dev/null")
    assert breaches(sealed) == []


def test_an_administrator_of_a_group_goes_with_the_account() -> None:
    assert accounts.without_member("adm:*:builder:syslog,builder\n", "builder") == "adm:*::syslog\n"
