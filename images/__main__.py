"""`python -m images publish aws|azure`: what a build has left becomes an image in a cloud.

Prints what was made as one line of JSON.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from images.builder.inputs import project_version
from images.formats.sparse import DiskError
from images.papers.proof import ProofError
from images.paths import REPO, Layout
from images.publish import asked
from images.publish.aws import AwsError
from images.publish.azure import AzureError
from images.publish.disk import DiskFileError
from images.run import CommandError

FAILED = 1
INTERRUPTED = 130  # what a shell reports for SIGINT

EXPECTED = (AwsError, AzureError, CommandError, DiskError, DiskFileError, ProofError)


def main(argv: Sequence[str]) -> int:
    """Publish; an expected failure is one message on standard error and a non-zero code."""
    given = _parser().parse_args(argv)
    try:
        made = given.publish(given, _say)
    except EXPECTED as error:
        print(f"publish: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("publish: interrupted; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    print(json.dumps(made))
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m images", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="publish")
    folder = Layout().build / "images" / project_version(REPO)
    asked.options(commands.add_parser("publish", help="make an image in a cloud of what was built"), folder)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
