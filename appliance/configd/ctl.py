"""`sentry-configctl`: configd for root and automation. Trees come in and results go out as JSON.

    apply [--check] [--comment TEXT] [--confirm MINUTES] < tree.json
    show TOPIC [ARGUMENT]
    facts TOPIC...
    get [--view running|candidate|startup]
    revisions
    rollback NUMBER
    confirm

Exit status 0: done. 1: refused or failed, the reasons on standard error. 2: wrong use.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from appliance.configd import api
from appliance.configd.client import Client, Refused, Unreachable

Arguments = argparse.Namespace


def _apply(client: Client, handle: str, arguments: Arguments) -> Any:
    try:
        tree = msgspec.json.decode(sys.stdin.buffer.read(api.LINE_BYTES), type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise Refused(api.Refusal(kind="invalid", message=f"standard input is not a tree in JSON: {error}")) from error
    client.call(api.ReplaceConfig(session=handle, tree=tree))
    commit = api.Commit(
        session=handle,
        comment=arguments.comment,
        confirm_minutes=arguments.confirm,
        check_only=arguments.check,
    )
    return client.call(commit, api.Committed)


def _show(client: Client, handle: str, arguments: Arguments) -> Any:
    return client.call(api.Show(session=handle, topic=arguments.topic, argument=arguments.argument), api.Shown)


def _facts(client: Client, handle: str, arguments: Arguments) -> Any:
    """Several topics at once; one that cannot be told has its reason instead."""
    told: dict[str, Any] = {}
    for topic in arguments.topics:
        try:
            told[topic] = client.call(api.Show(session=handle, topic=topic), api.Shown)
        except Refused as refused:
            told[topic] = {"kind": "problem", "problem": str(refused)}
    return told


def _get(client: Client, handle: str, arguments: Arguments) -> Any:
    return client.call(api.GetConfig(session=handle, view=arguments.view))


def _revisions(client: Client, handle: str, _arguments: Arguments) -> Any:
    return client.call(api.ListRevisions(session=handle), tuple[api.Revision, ...])


def _rollback(client: Client, handle: str, arguments: Arguments) -> Any:
    return client.call(api.Rollback(session=handle, revision=arguments.number), api.Committed)


def _confirm(client: Client, handle: str, _arguments: Arguments) -> Any:
    return client.call(api.Confirm(session=handle))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="sentry-configctl", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--socket", type=Path, default=Path(api.SOCKET))
    words = made.add_subparsers(required=True, metavar="COMMAND")

    def word(name: str, run: Callable[[Client, str, Arguments], Any], text: str) -> argparse.ArgumentParser:
        added = words.add_parser(name, help=text)
        added.set_defaults(run=run)
        return added

    apply = word("apply", _apply, "commit the tree on standard input")
    apply.add_argument("--check", action="store_true", help="validate, render and vet; change nothing")
    apply.add_argument("--comment", default="")
    apply.add_argument("--confirm", type=int, metavar="MINUTES", help="roll back unless confirmed in time")
    show = word("show", _show, "facts of the running system")
    show.add_argument("topic")
    show.add_argument("argument", nargs="?", default="")
    word("facts", _facts, "several topics in one answer").add_argument("topics", nargs="+", metavar="TOPIC")
    get = word("get", _get, "the configuration, secrets masked")
    get.add_argument("--view", choices=("running", "candidate", "startup"), default="running")
    word("revisions", _revisions, "the kept revisions")
    word("rollback", _rollback, "commit a kept revision again").add_argument("number", type=int)
    word("confirm", _confirm, "keep the commit that waits")
    return made


def main(argv: list[str] | None = None) -> int:
    """Run one command."""
    arguments = parser().parse_args(argv)
    try:
        with Client(arguments.socket) as client:
            session = client.call(api.OpenSession(source="sentry-configctl", interactive=False), api.Session)
            result = arguments.run(client, session.handle, arguments)
    except (Refused, Unreachable) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(result), indent=2).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
