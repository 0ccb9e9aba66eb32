"""`python -m stig scan | fleet | self | summary | benchmark | reference`: scan appliances, say what was found."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from stig import answers, benchmark, devices, difference, fleet, own, results, rules, summary, written
from stig.auditor import AuditorMachine
from stig.door import SshDoor, ssh_config
from stig.errors import InputError, StigError
from stig.machine import SshMachine
from stig.recorder import utc_now
from stig.reports import files, manual, reference
from stig.results import Scan
from stig.scan import scan
from stig.target import Login, Target, by_command_line, check, described, snmp_user, zones
from stig.target import answers as target_answers

FAILED, FOUND = 2, 1


def main(argv: Sequence[str]) -> int:
    """0: the scan ran (whatever it found); 1: `--fail-on` and an open rule of such a category; 2: the scan itself failed."""
    asked = _parser().parse_args(argv)
    try:
        if asked.command == "summary":
            found = results.read(asked.results)
            print("\n".join(summary.lines(found)))
            return 0
        if asked.command == "benchmark":
            _say(f"wrote {files.put(manual.render(written.load().chapter('GPOS')), asked.file)}")
            return 0
        if asked.command == "reference":
            sys.stdout.write(reference.render(written.load().chapter("GPOS")))
            return 0
        if asked.command == "self":
            print("\n".join(summary.lines(own.scan_itself(asked.out, clock=utc_now, say=_say))), flush=True)
            return 0
        return _fleet(asked) if asked.command == "fleet" else _scan(asked)
    except StigError as error:
        print(f"stig {asked.command}: {error}", file=sys.stderr)
        return FAILED


def _scan(asked: argparse.Namespace) -> int:
    catalogue = written.load()
    for path in asked.benchmark:
        catalogue = benchmark.apply(path, catalogue)
    target = check(_target(asked))
    earlier = difference.comparable(results.read(asked.earlier), target.name) if asked.earlier else None
    given = asked.answers or (target_answers(asked.appliance) if asked.appliance else None)
    site = answers.load(given, catalogue) if given else None
    with tempfile.TemporaryDirectory(prefix="stig-") as folder:  # mode 0700: control sockets lie in it
        machine = _machine(target, Path(folder))
        try:
            _say(f"scanning {target.name} at {target.address} as {target.looks_as}")
            found = scan(machine, catalogue, site, clock=utc_now, say=_say)
        finally:
            machine.close()
    since = difference.between(earlier, found) if earlier else None
    for path in files.write(found, catalogue, asked.out, since):
        _say(f"wrote {path}")
    print("\n".join(summary.lines(found)), flush=True)
    return _exit_status(found, asked.fail_on)


def _fleet(asked: argparse.Namespace) -> int:
    given = {name: getattr(asked, name) for name in (*fleet.PER_HOST, "fail_on")}
    options = {name: str(value) for name, value in given.items() if value is not None}
    found = fleet.hosts(asked.inventory, asked.limit)
    _say(f"scanning {len(found)} appliances, {asked.at_once} at a time")
    ended = fleet.scan_all(found, options, asked.out, at_once=asked.at_once, say=_say)
    print("\n".join(fleet.lines(ended)), flush=True)
    return fleet.status(ended)


def _machine(target: Target, folder: Path) -> SshMachine | AuditorMachine:
    if target.collector is not None:
        return SshMachine(target, folder)
    return AuditorMachine(target, SshDoor(ssh_config(target, folder), target.admin.user))


def _exit_status(found: Scan, categories: str | None) -> int:
    wanted = (categories or "").upper().replace(" ", "").split(",") if categories else []
    bad = [one for one in found.results if one.category in wanted and one.status in ("open", "error")]
    return FOUND if bad else 0


def _say(line: str) -> None:
    print(line, flush=True)


def _target(asked: argparse.Namespace) -> Target:
    names = ("host", "port", "user", "key", "admin_user", "admin_key", "known_hosts", "ca_file", "devices")
    given = {name: getattr(asked, name) for name in names}
    asker = snmp_user(asked.snmp) if asked.snmp else None
    if asked.target is not None:
        surplus = [
            name for name in ("host", "port", "user", "admin_user", "admin_key", "appliance") if getattr(asked, name)
        ]
        if surplus:
            raise InputError(f"found --{surplus[0].replace('_', '-')} beside {asked.target}, which says it already")
        return by_command_line(
            asked.target,
            key=asked.key,
            known_hosts=asked.known_hosts,
            ca_file=asked.ca_file,
            gateway=asked.gateway_address or "",
            tried=devices.load(asked.devices) if asked.devices else None,
            snmp=asker,
        )
    if asked.appliance is not None:
        found = described(asked.appliance, **given)
        return replace(found, snmp=asker or found.snmp)
    needed = ("host", "user", "key", "admin_key", "known_hosts")
    missing = [f"--{name.replace('_', '-')}" for name in needed if given[name] is None]
    if missing:
        raise InputError(f"without ssh://auditor@host or --appliance, these are needed too: {', '.join(missing)}")
    return Target(
        name=asked.host,
        address=asked.host,
        collector=Login(asked.user, asked.key),
        admin=Login(asked.admin_user or "admin", asked.admin_key),
        known_hosts=asked.known_hosts,
        zones=zones(asked.host, asked.gateway_address or ""),
        ca_file=asked.ca_file,
        ssh_port=asked.port or 22,
        snmp=asker,
        devices=devices.load(asked.devices) if asked.devices else None,
    )


def _categories(text: str) -> str:
    unknown = set(text.upper().split(",")) - set(rules.CATEGORIES)
    if unknown:
        raise argparse.ArgumentTypeError(f"found {text!r}; allowed: I, II, III, joined by commas")
    return text


def _number(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}; allowed: a number from 1 on")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stig", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("scan", help="scan an appliance and write the reports")
    one.add_argument(
        "target",
        nargs="?",
        help="ssh://auditor@host[:port]: an appliance's auditor or administrator, by the command line alone",
    )
    one.add_argument("--appliance", type=Path, help="the description `make appliance` wrote (build/appliance.json)")
    one.add_argument(
        "--answers", type=Path, help="the site's answer file; with --appliance the one it names is the default"
    )
    one.add_argument(
        "--out", "--output", dest="out", type=Path, default=Path("build/scan"), help="folder of the reports"
    )
    one.add_argument(
        "--fail-on", type=_categories, help="exit with 1 when a rule of these categories is open: I,II,III"
    )
    one.add_argument("--host", help="address of the appliance")
    one.add_argument("--port", type=int, help="its SSH port")
    one.add_argument("--user", help="account that looks (needs sudo)")
    one.add_argument("--key", type=Path, help="its private key")
    one.add_argument("--admin-user", help="an administrator's account")
    one.add_argument("--admin-key", type=Path, help="its private key")
    one.add_argument("--known-hosts", type=Path, help="the appliance's host keys")
    one.add_argument("--gateway-address", help="where 443 answers, if not at the address of the management zone")
    one.add_argument("--ca-file", type=Path, help="authority the portal's certificate is verified against")
    one.add_argument(
        "--devices",
        type=Path,
        help="the devices the gateway is tried with; with --appliance those it names are the default",
    )
    one.add_argument(
        "--snmp", type=Path, help="the SNMP user as whom the appliance is asked; else the one of --appliance"
    )
    one.add_argument(
        "--benchmark",
        type=Path,
        action="append",
        default=[],
        help="DISA's own file of one of the STIGs, whose texts the reports are to have; may be given for each",
    )
    one.add_argument(
        "--earlier", type=Path, help="results.json of an earlier scan; the page says what has changed since"
    )
    itself = commands.add_parser("self", help="on an appliance, as the scanner's account: have it scan itself")
    itself.add_argument("--out", type=Path, required=True, help="folder of the reports")
    many = commands.add_parser("fleet", help="scan all appliances of an Ansible inventory, as auditors")
    many.add_argument(
        "inventory", type=Path, help="an inventory; hosts may have stig_user, stig_key, stig_answers, ..."
    )
    many.add_argument("--limit", default="", help="Ansible's pattern of hosts")
    many.add_argument("--out", type=Path, default=Path("build/scan"), help="a folder for each host is made there")
    many.add_argument("--at-once", type=_number, default=fleet.AT_ONCE, help="how many are scanned at a time")
    many.add_argument("--user", help="the auditor's account, where the inventory has none for a host (auditor)")
    for name, what in (
        ("key", "its private key"),
        ("known-hosts", "host keys"),
        ("ca-file", "authority of the portals"),
    ):
        many.add_argument(f"--{name}", type=Path, help=what)
    many.add_argument("--devices", type=Path, help="the devices the gateways are tried with")
    many.add_argument("--snmp", type=Path, help="the SNMP user as whom the appliances are asked")
    many.add_argument("--gateway-address", help="where 443 answers; of a host of its own, stig_gateway_address")
    many.add_argument("--answers", type=Path, help="the site's answer file")
    many.add_argument("--fail-on", type=_categories, help="exit with 1 when a rule of these is open anywhere: I,II,III")
    two = commands.add_parser("summary", help="print the counts of a scan by category")
    two.add_argument("results", type=Path, help="a results.json")
    three = commands.add_parser(
        "benchmark", help="write our rules of the operating system as a manual STIG, which viewers import"
    )
    three.add_argument("file", type=Path, help="where to")
    commands.add_parser("reference", help="print our rules of the operating system as a page (docs/platform-rules.md)")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
