"""What OpenSCAP finds inside the running appliance, by Debian's own content (ssg-debian): each finding is mended or waived with
its reason, and so many rules at least are really evaluated.

Neither OpenSCAP nor its content is on the appliance. They come as a tree of their own, below which the appliance's files lie in
an overlay that only this look sees, so that the package database and everything else are the appliance's. That content knows
Debian 12 and none later, so the look is told that this is one; the rules are about files and settings that both have.
"""

import subprocess
from collections import Counter
from pathlib import Path

import pytest
from lxml import etree

from images import guest as guests
from images import rootfs
from images.lab.zones import GUEST
from images.paths import REPO, Layout
from images.rootfs import Tree
from tests.lab import Lab

pytestmark = pytest.mark.appliance

TOOLS = Tree("trixie", ("openscap-scanner", "ssg-debian"))
PROFILE = "xccdf_org.ssgproject.content_profile_anssi_bp28_high"  # the strictest of the content
PREFIX = "xccdf_org.ssgproject.content_rule_"
PROOF = REPO / "build/proof"
SECONDS = 300.0
EVALUATED = 94  # may only rise: most rules are about a machine with a kernel of its own, which a guest is not
NAMES = {"x": "http://checklists.nist.gov/xccdf/1.2"}

_SUDO = "the one account with sudo is Ansible's, with a key; a sealed image has none, and no administrator gets a shell"
WAIVED = {
    "accounts_password_pam_minclass": "each class is asked for by itself (V-250990 to V-250993)",
    "accounts_password_set_max_life_root": "root has no password",
    "accounts_passwords_pam_faillock_deny": "sentry-tally counts in place of pam_faillock (V-250986)",
    "accounts_passwords_pam_faillock_interval": "the same",
    "accounts_passwords_pam_faillock_unlock_time": "the same",
    "accounts_umask_etc_bashrc": "/etc/profile.d and PAM set it; the only shell is Ansible's",
    "file_permission_user_init_files": "Ansible's account has those that Debian gives to each; nothing in them is secret",
    "file_permissions_sudo": "its mode is Debian's; who may use it is in sudoers",
    "grub2_enable_apparmor": "a container has no boot loader",
    "package_pam_apparmor_installed": "no profile of ours goes by who logged in",
    "set_password_hashing_algorithm_logindefs": "wants yescrypt, which no FIPS module has; ours is SHA512",
    "sudo_add_ignore_dot": _SUDO,
    "sudo_add_noexec": _SUDO,
    "sudo_add_requiretty": _SUDO,
    "sudo_add_umask": _SUDO,
    "sudo_dedicated_group": _SUDO,
    "sudoers_explicit_command_args": _SUDO,
    "sudoers_no_root_target": _SUDO,
}

# The tools' tree is read from standard input; the result is on standard output.
LOOK = """\
set -e
place=/run/openscap
mkdir -p $place
mount -t tmpfs tmpfs $place
mkdir $place/tools $place/all
tar -C $place/tools -xf - --wildcards './usr/*'
mount -t overlay overlay -o lowerdir=/:$place/tools $place/all
sed 's/^VERSION_ID=.*/VERSION_ID="12"/; s/trixie/bookworm/g' /etc/os-release > $place/os-release
echo 12.9 > $place/debian_version
mount --bind $place/os-release $place/all/usr/lib/os-release
mount --bind $place/debian_version $place/all/etc/debian_version
mount -t tmpfs tmpfs $place/all/proc
mkdir $place/all/proc/sys
mount --bind /proc/sys $place/all/proc/sys
mount -t tmpfs tmpfs $place/all/tmp
mount --bind /dev $place/all/dev
cd /
chroot $place/all oscap xccdf eval --profile "$1" --results /tmp/results.xml --skip-validation \
    /usr/share/xml/scap/ssg/content/ssg-debian12-ds.xml >&2 || true
cat $place/all/tmp/results.xml
"""


@pytest.fixture(scope="module")
def results(lab: Lab, layout: Layout) -> dict[str, str]:
    """What each rule ended as."""
    guest = guests.find(GUEST, layout)
    assert guest is not None
    argv = ["nsenter", "-t", str(guest.leader), "-a", "--", "unshare", "--mount", "/bin/sh", "-c", LOOK, "sh", PROFILE]
    with rootfs.build(TOOLS, layout.trees).open("rb") as tree:
        done = subprocess.run(argv, stdin=tree, capture_output=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    PROOF.mkdir(parents=True, exist_ok=True)
    Path(PROOF / "openscap-results.xml").write_bytes(done.stdout)
    root = etree.fromstring(done.stdout)
    found = {
        one.get("idref", "").removeprefix(PREFIX): one.findtext("x:result", namespaces=NAMES) or ""
        for one in root.iterfind(".//x:rule-result", NAMES)
    }
    return {rule: result for rule, result in found.items() if result != "notselected"}


def test_so_many_rules_are_really_evaluated(results: dict[str, str]) -> None:
    """A look at which everything is "not applicable" would find nothing."""
    counts = Counter(results.values())
    assert counts["pass"] + counts["fail"] >= EVALUATED, counts


def test_nothing_is_found_that_is_not_waived_and_no_waiver_is_idle(results: dict[str, str]) -> None:
    """So what is found may only become less."""
    assert {rule for rule, result in results.items() if result == "fail"} == set(WAIVED)
