"""The commands about what is taken away from the appliance: make a support bundle, print a file that waits, drop one."""

import base64
from collections.abc import Iterator, Mapping
from typing import Final

from appliance.cli import output
from appliance.cli.command import Command, Mode
from appliance.cli.output import Output
from appliance.cli.shell import Shell
from appliance.configd import api

Values = Mapping[str, str]

PRIVILEGED = frozenset({Mode.PRIVILEGED})
BEGIN: Final = "-----BEGIN SENTRY DOWNLOAD-----"
END: Final = "-----END SENTRY DOWNLOAD-----"
LINE_BYTES = 48  # 64 characters of base64: RFC 7468 2


def bundle(shell: Shell, _values: Values) -> Output:
    """Have a bundle made; says how it is called and until when it waits."""
    return _of(shell.call(api.MakeBundle, api.Download))


def fetch(shell: Shell, values: Values) -> Output:
    """Print a file as a block of base64, as PEM has it. It is deleted here once all of it was printed."""
    name = values["download"]
    data = b"".join(_pieces(shell, name))
    text = base64.b64encode(data).decode()
    width = LINE_BYTES * 4 // 3
    lines = (text[start : start + width] for start in range(0, len(text), width))
    return Output((BEGIN, *lines, END), {"download": name, "content": text})


def _pieces(shell: Shell, name: str) -> Iterator[bytes]:
    offset = 0
    while True:
        piece = shell.call(api.FetchDownload, api.Piece, name=name, offset=offset)
        if not piece.content:
            return
        data = base64.b64decode(piece.content)
        offset += len(data)
        yield data


def drop(shell: Shell, values: Values) -> None:
    """Delete a file that waits."""
    shell.call(api.DropDownload, type(None), name=values["download"])


def _of(made: api.Download) -> Output:
    facts = (
        ("download", made.name),
        ("bytes", str(made.size)),
        ("made", made.when),
        ("waits until", made.until),
        ("fetch it", f"at the portal under Support, or by: download fetch {made.name}"),
    )
    return output.facts(facts, title="download")


COMMANDS: tuple[Command, ...] = (
    Command("support bundle", "Put together what support needs, as a file without secrets", bundle, PRIVILEGED),
    Command("download fetch <download>", "Print a file that waits, in base64; then it is deleted", fetch, PRIVILEGED),
    Command("download drop <download>", "Delete a file that waits to be fetched", drop, PRIVILEGED),
)

WORDS = {
    "support": "What support needs",
    "download": "Files that wait to be fetched: bundles, captures",
    "download fetch": "Print one in base64, between two lines; it is deleted once it was printed",
    "download drop": "Delete one",
}
