"""What all features have in common, and the small ones' own behaviour."""

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from appliance.features import FEATURES, hostname
from appliance.features.base import Check, Tree
from appliance.render import render_all

from .conftest import MATERIAL, SITES
from .test_uem_core import core

LabWith = Callable[[Callable[[dict[str, Any]], None]], Tree]
CHECKED_HERE = ("chronyd", "sshd")  # nft is run in namespaces of its own, see test_firewall.py


def rules_below(path: str, rules: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every rule of a schema with its path."""
    yield path, rules
    inner = rules.get("schema")
    if rules.get("type") == "dict" and isinstance(inner, Mapping):
        for name, one in inner.items():
            yield from rules_below(f"{path}.{name}", one)
    elif isinstance(inner, Mapping) and inner.get("type") == "dict":
        yield from rules_below(f"{path}[]", inner)
    if isinstance(rules.get("valuesrules"), Mapping) and rules["valuesrules"].get("type") == "dict":
        yield from rules_below(f"{path}.NAME", rules["valuesrules"])


def test_every_setting_has_a_label_and_help() -> None:
    """From them come the CLI's help, the portal's forms and the reference."""
    seen = [entry for feature in FEATURES for entry in rules_below(feature.name, feature.schema)]
    assert len(seen) > 60
    assert [path for path, rules in seen if not rules["meta"].get("label") or not rules["meta"].get("help")] == []


def test_every_check_and_unit_looks_at_files_the_feature_renders(trees: dict[str, Tree], lab_with: LabWith) -> None:
    """A path that is misspelt would mean a check that never runs or a daemon that is never told."""
    authority = (MATERIAL / "authority.pem").read_text()
    epmm = {"host": "192.0.2.7", "account": "a", "password": "b", "ca_certificates": authority}
    vendor = lab_with(lambda tree: tree["uem"].update(mode="epmm", epmm=epmm))
    login = {"mode": "optional", "authorities": authority, "revocation": {"check": "off"}}
    cards = lab_with(lambda tree: tree["portal"].update(certificate_login=login))
    acme = {"directory": "https://ca.test/dir", "ca_certificates": authority}
    ordered = lab_with(lambda tree: tree.update(certificates={"acme": acme, "servers": {"portal": {"issuer": "acme"}}}))
    sites = (*trees.values(), lab_with(core()), vendor, cards, ordered)
    everything = {path for tree in sites for path in render_all(tree, FEATURES)}
    units = [(feature.name, unit) for feature in FEATURES for unit in feature.units]
    assert len(units) >= 8
    for name, unit in units:
        for pattern in unit.paths:
            one = type(unit)(unit.name, unit.action, (pattern,))
            assert one.concerned(everything), f"{name}: {unit.name}: {pattern}"
    for feature in FEATURES:
        for check in feature.checks:
            assert set(check.needs) <= everything
            assert {word.strip("{}") for word in check.argv if word.startswith("{")} == set(check.needs)


CHECKS = [check for feature in FEATURES for check in feature.checks if check.argv[0] in CHECKED_HERE]


@pytest.mark.parametrize("name", SITES)
@pytest.mark.parametrize("check", CHECKS, ids=[check.argv[0] for check in CHECKS])
def test_the_daemons_own_checker_accepts_the_file(
    check: Check, name: str, trees: dict[str, Tree], tmp_path: Path
) -> None:
    """Where the daemon is on this machine; on the appliance every commit runs it."""
    if shutil.which(check.argv[0], path="/usr/sbin:/usr/bin") is None:
        pytest.skip(f"{check.argv[0]} is not on this machine; every commit on the appliance runs it")
    files = render_all(trees[name], FEATURES)
    argv = list(check.argv)
    for path in check.needs:
        (tmp_path / "staged").write_text(files[path].text)
        argv = [word.replace(f"{{{path}}}", str(tmp_path / "staged")) for word in argv]
    if check.argv[0] == "sshd":  # a machine that never ran it has neither host keys nor this folder
        subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", tmp_path / "host"], check=True)
        argv += ["-h", str(tmp_path / "host")]
        Path("/run/sshd").mkdir(exist_ok=True)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_the_kernel_is_renamed_only_when_its_name_differs(trees: dict[str, Tree]) -> None:
    """hostname(1) with the short name."""

    class Kernel:
        name = "old"

        def read(self, path: str) -> str | None:
            return f"{self.name}\n" if path == "/proc/sys/kernel/hostname" else None

        def run(self, argv: list[str], *, stdin: str | None = None) -> str:
            assert argv[0] == "hostname"
            self.name = argv[1]
            return ""

        def secret(self, reference: str) -> str:
            raise AssertionError(reference)

    kernel = Kernel()
    assert hostname.reconcile(trees["lab"], kernel)
    assert kernel.name == "gateway"
    assert not hostname.reconcile(trees["lab"], kernel)


def test_an_account_that_goes_takes_its_keys_with_it(lab_with: LabWith, trees: dict[str, Tree]) -> None:
    """Its file is no longer rendered, so the engine removes it."""
    key = trees["lab"]["users"]["accounts"]["admin"]["ssh_keys"][0]

    def second(tree: dict[str, Any]) -> None:
        tree["users"]["accounts"]["ada"] = {"role": "auditor", "ssh_keys": [key]}

    with_ada = render_all(lab_with(second), FEATURES)
    assert with_ada["/etc/ssh/authorized_keys.d/ada"].text == f"{key}\n"
    assert "/etc/ssh/authorized_keys.d/ada" not in render_all(trees["lab"], FEATURES)


def test_key_files_are_roots(trees: dict[str, Tree]) -> None:
    """No account can give itself another key."""
    keys = [file for path, file in render_all(trees["lab"], FEATURES).items() if "authorized_keys.d" in path]
    assert [(file.owner, file.mode) for file in keys] == [("root", 0o644)]


def test_the_banner_keeps_its_backslashes_on_the_console(lab_with: LabWith) -> None:
    """agetty would turn `\\n` in /etc/issue into the host's name."""
    tree = lab_with(lambda held: held.update(banner={"text": r"a\nb"}))
    files = render_all(tree, FEATURES)
    assert files["/etc/issue"].text == "a\\\\nb\n"
    assert files["/etc/issue.net"].text == files["/etc/sentry/banner.txt"].text == "a\\nb\n"


def test_a_changed_interface_reaches_networkd_alone(trees: dict[str, Tree]) -> None:
    """The pattern of the unit's paths matches an interface's file and no other."""
    (unit,) = next(feature.units for feature in FEATURES if feature.name == "interfaces")
    files = render_all(trees["lab"], FEATURES)
    assert unit.concerned(files) == {
        f"/etc/systemd/network/50-sentry-{name}.network" for name in trees["lab"]["interfaces"]
    }
