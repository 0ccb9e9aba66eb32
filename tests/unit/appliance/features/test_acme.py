"""ACME as settings: what is rendered, who may dial whom, when port 80 is open, and where the binding's key lies."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.acme.settings import Binding, Settings, load
from appliance.features import acme, backends
from appliance.features.base import Flow, Tree
from appliance.plan import InvalidError
from appliance.settings_file import SettingsError

from .conftest import MATERIAL

LabWith = Callable[[Callable[[dict[str, Any]], None]], Tree]
PEM = (MATERIAL / "authority.pem").read_text()
DIRECTORY = "https://ca.example.test:8443/acme/acme/directory"
KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


def with_acme(
    lab_with: LabWith, *, places: tuple[str, ...] = ("portal",), also: dict[str, Any] | None = None, **how: Any
) -> Tree:
    """The lab with these services' certificates from an ACME server."""

    def change(tree: dict[str, Any]) -> None:
        servers = {place: {"issuer": "acme"} for place in places}
        tree["certificates"] = {"acme": {"directory": DIRECTORY, **how}, "servers": servers}
        tree.update(also or {})

    return lab_with(change)


def read(tree: Tree, folder: Path) -> Settings:
    """The settings as the service reads them."""
    place = folder / "acme.json"
    place.write_text(acme.render(tree)[acme.FILE].text)
    return load(place)


def test_the_service_reads_what_is_rendered(lab_with: LabWith, tmp_path: Path) -> None:
    assert read(with_acme(lab_with), tmp_path) == Settings(
        directory=DIRECTORY, trust=backends.SYSTEM_TRUST, listen=("10.98.1.2",)
    )
    whole = with_acme(
        lab_with,
        ca_certificates=PEM,
        contacts=["pki@lab.test"],
        terms_agreed=True,
        binding={"key_id": "gw-1", "key": KEY},
        proof_zones=["management", "backend"],
        tls_versions={"maximum": "1.3"},
    )
    assert read(whole, tmp_path) == Settings(
        directory=DIRECTORY,
        trust=acme.TRUST,
        contacts=("pki@lab.test",),
        terms_agreed=True,
        binding=Binding(key_id="gw-1", key_path=acme.BINDING_KEY),
        maximum="1.3",
        listen=("10.98.3.2", "10.98.2.2"),
    )
    files = acme.render(whole)
    assert files[acme.TRUST].text == PEM
    assert (files[acme.FILE].owner, files[acme.FILE].group, files[acme.FILE].mode) == ("root", "sentry-acme", 0o640)
    assert KEY not in files[acme.FILE].text


def test_where_no_certificate_comes_from_there_is_nothing(trees: dict[str, Tree], lab_with: LabWith) -> None:
    """A server alone opens no port and starts no service."""
    for tree in (trees["lab"], with_acme(lab_with, places=())):
        assert (dict(acme.render(tree)), acme.flows(tree)) == ({}, ())


def test_the_service_alone_may_dial_the_server_and_port_80_is_for_proofs(lab_with: LabWith) -> None:
    assert acme.flows(with_acme(lab_with)) == (
        Flow("certificates", "out", "tcp", 8443, None, (), "sentry-acme"),
        Flow("certificates", "in", "tcp", 80, "device", ()),
    )
    dns = {"dns": {"static_hosts": {"ca.example.test": "10.98.2.9"}}}
    narrow = with_acme(lab_with, also=dns, proof_zones=["management"], proof_networks=["10.98.2.0/24"])
    assert acme.flows(narrow) == (
        Flow("certificates", "out", "tcp", 8443, None, ("10.98.2.9",), "sentry-acme"),
        Flow("certificates", "in", "tcp", 80, "management", ("10.98.2.0/24",)),
    )
    listed = with_acme(lab_with, networks=["192.0.2.0/24"], directory="https://ca.example.test/dir")
    assert acme.flows(listed)[0] == Flow("certificates", "out", "tcp", 443, None, ("192.0.2.0/24",), "sentry-acme")


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "http": ({"directory": "http://ca.test/dir"}, "https://"),
    "an account in the URL": ({"directory": "https://me:pw@ca.test/dir"}, "https://"),
    "a fragment": ({"directory": "https://ca.test/dir#x"}, "https://"),
    "no anchors": ({"ca_certificates": "nonsense"}, "PEM"),
    "a contact that is none": ({"contacts": ["nobody"]}, "mail address"),
    "a key id with a blank": ({"binding": {"key_id": "a b", "key": KEY}}, "without blanks"),
    "a key that is none": ({"binding": {"key_id": "a", "key": "a+b/"}}, "base64url"),
    "half a binding": ({"binding": {"key_id": "a"}}, "both key_id and key"),
    "versions upside down": ({"tls_versions": {"minimum": "1.3"}}, "at most certificates.acme.tls_versions.maximum"),
    "no zone": ({"proof_zones": []}, "proof_zones"),
}


@pytest.mark.parametrize(("how", "said"), WRONG.values(), ids=WRONG)
def test_what_is_refused(how: dict[str, Any], said: str, lab_with: LabWith) -> None:
    with pytest.raises(InvalidError) as refused:
        with_acme(lab_with, **how)
    assert said in str(refused.value)


def test_the_gateway_and_the_proofs_do_not_share_port_80(lab_with: LabWith) -> None:
    balancers = {"require_client_tls": False, "balancers": {"networks": ["10.98.1.9/32"]}}
    with pytest.raises(InvalidError, match=r"gateway\.plain_port: found 80; allowed: another one"):
        with_acme(lab_with, also={"gateway": balancers})
    assert acme.flows(with_acme(lab_with, also={"gateway": {**balancers, "plain_port": 8080}}))


def test_a_place_without_a_server(lab_with: LabWith) -> None:
    def change(tree: dict[str, Any]) -> None:
        tree["certificates"] = {"servers": {"gateway": {"issuer": "acme"}, "portal": {"issuer": "acme"}}}

    with pytest.raises(InvalidError, match=r"certificates\.acme\.directory: found nothing; .*gateway, portal"):
        lab_with(change)


def test_the_uem_in_the_box_does_not_believe_an_acme_server(lab_with: LabWith) -> None:
    with pytest.raises(InvalidError, match=r"uem_push\.issuer: found acme"):
        with_acme(lab_with, places=("uem_push",))


class Box:
    """A machine with secrets and files, as far as the binding's key needs one."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.owners: dict[str, str] = {}

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def secret(self, _reference: str) -> str:
        return KEY

    def run(self, argv: list[str], *, stdin: str | None = None) -> str:
        if argv[0] == "install" and "-d" not in argv:
            self.files[argv[-1]] = stdin or ""
            self.owners[argv[-1]] = argv[argv.index("-g") + 1]
        elif argv[0] == "mv":
            self.files[argv[-1]] = self.files.pop(argv[-2])
            self.owners[argv[-1]] = self.owners.pop(argv[-2])
        elif argv[0] == "rm":
            del self.files[argv[-1]]
        return f"640 root:{self.owners.get(argv[-1], '')}" if argv[0] == "stat" else ""


def test_the_binding_s_key_lies_where_the_service_reads_it_and_goes_with_it(lab_with: LabWith) -> None:
    box = Box()
    bound = with_acme(lab_with, binding={"key_id": "gw-1", "key": KEY})
    assert acme.reconcile(bound, box)
    assert not acme.reconcile(bound, box)
    assert (box.files, box.owners[acme.BINDING_KEY]) == ({acme.BINDING_KEY: KEY}, "sentry-acme")
    assert acme.reconcile(with_acme(lab_with, places=(), binding={"key_id": "gw-1", "key": KEY}), box)
    assert box.files == {}
    assert not acme.reconcile(with_acme(lab_with), box)


def test_a_settings_file_that_is_wrong_is_named(tmp_path: Path) -> None:
    place = tmp_path / "acme.json"
    with pytest.raises(SettingsError, match="cannot be read"):
        load(place)
    place.write_text('{"directory": "https://x", "trust": "/y", "listen": [], "more": 1}')
    with pytest.raises(SettingsError, match="more"):
        load(place)
