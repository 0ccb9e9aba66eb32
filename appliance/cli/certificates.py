"""The commands about certificates and about the TLS versions of 8443 and 9090, in the words of the field."""

from collections.abc import Mapping
from typing import Any

from appliance.cli import output
from appliance.cli.command import Action, CommandError
from appliance.cli.configure import Path, current
from appliance.cli.output import Output
from appliance.cli.shell import Shell
from appliance.configd import api

Values = Mapping[str, str]

LINES = 2_000  # of one upload: a PKCS12 of 64 KiB in base64 has 1,400
MANAGEMENT: Path = ("tls", "management")


def show(shell: Shell, values: Values) -> Output:
    """All certificates, or everything about one service's."""
    fields = {"topic": "certificates", "argument": values.get("service", "")}
    return output.shown(shell.call(api.Show, api.Shown, **fields))


def request(shell: Shell, values: Values) -> Output:
    """Make a key and a request for it, and print the request."""
    return output.shown(shell.call(api.RequestCertificate, api.Text, service=values["service"]))


def upload(*, second: bool) -> Action:
    """The command that takes a certificate whose key was made here: the first one, or the one that takes over."""

    def action(shell: Shell, values: Values) -> Output:
        text = _lines(
            shell, "Enter the certificate and every authority above it, as PEM; a line with a single dot ends it."
        )
        verb: dict[str, Any] = {"certificate": text, "second": second, "moment": values.get("moment", "")}
        return output.shown(shell.call(api.UploadCertificate, api.Text, service=values["service"], **verb))

    return action


def upload_pkcs12(*, second: bool) -> Action:
    """The command that takes a PKCS12 file and asks for its password."""

    def action(shell: Shell, values: Values) -> Output:
        text = _lines(shell, "Enter the PKCS12 file in base64; a line with a single dot ends it.")
        password = shell.terminal.ask_secret("Password of the file: ")
        moment = values.get("moment", "")
        verb: dict[str, Any] = {"pkcs12": text, "password": password, "second": second, "moment": moment}
        return output.shown(shell.call(api.UploadPkcs12, api.Text, service=values["service"], **verb))

    return action


def renew(shell: Shell, values: Values) -> Output:
    """Make a certificate of the appliance's own anew, now, or order one from the ACME server."""
    return output.shown(shell.call(api.RenewCertificate, api.Text, service=values["service"]))


def made_here(issuer: str) -> Action:
    """The command that goes from what was uploaded to a certificate that the appliance makes or gets by itself."""

    def action(shell: Shell, values: Values) -> None:
        path: Path = ("certificates", "servers", values["service"].replace("-", "_"))
        for name in ("second", "key", "certificate"):
            if current(shell, (*path, name)) is not None:
                shell.call(api.DeleteConfig, type(None), path=(*path, name))
        shell.call(api.SetConfig, type(None), path=(*path, "issuer"), value=issuer)

    return action


def httpd_protocol(minimum: str, maximum: str) -> Action:
    """The command that says which TLS versions 8443 and 9090 speak; a commit restarts the portal for it."""

    def action(shell: Shell, _values: Values) -> None:
        shell.call(api.SetConfig, type(None), path=(*MANAGEMENT, "minimum"), value=minimum)
        shell.call(api.SetConfig, type(None), path=(*MANAGEMENT, "maximum"), value=maximum)

    return action


def reset_ciphers(shell: Shell, _values: Values) -> None:
    """The cipher suites of 8443 and 9090 as they are by default."""
    shell.call(api.DeleteConfig, type(None), path=(*MANAGEMENT, "ciphers"))


def _lines(shell: Shell, question: str) -> str:
    if shell.terminal.interactive:
        shell.terminal.write([question])
    lines: list[str] = []
    while (line := shell.terminal.ask("")).strip() != ".":
        lines.append(line.strip())
        if len(lines) > LINES:
            raise CommandError(f"Not done: more than {LINES} lines, and none with a single dot.")
    return "".join(f"{line}\n" for line in lines if line)
