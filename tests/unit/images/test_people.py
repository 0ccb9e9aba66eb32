"""The lab's directory, asked by the appliance's own code with what sites/stig.yml says of it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from appliance.config import site
from appliance.directory import talk
from appliance.directory.settings import Group, Server, Settings
from images.lab import people, secrets, slapd
from images.paths import REPO, Layout
from tests.device_pki import DevicePki
from tests.ports import free_port


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A checkout's sites, and the lab's secrets beside them."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copytree(REPO / "sites", folder / "sites")
    made = Layout(folder / "build")
    secrets.ensure_all(made)
    return made


@pytest.fixture(scope="module")
def settings(layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """The site's, but for where the server listens and whose certificate it has here."""
    pki = DevicePki(tmp_path_factory.mktemp("pki"))
    pki.authority("company")
    pki.issue("directory", by="company", names="IP:127.0.0.1", usage="serverAuth")
    certificate, key = map(Path, pki.pair("directory"))
    held = site.load(layout.build.parent / "sites" / "stig.yml")["directory"]
    port = free_port()
    with (
        slapd.folder() as place,
        slapd.serving(place, (certificate, key), people.contents(layout.secrets), host="127.0.0.1", ldaps=port),
    ):
        yield Settings(
            servers=(Server(host="127.0.0.1", port=port),),
            security="ldaps",
            trust=pki.path("company"),
            base=held["base_dn"],
            bind="account",
            account=held["bind_account"],
            password_path=held["bind_password"],
            user_attribute="uid",
            membership="member",
            groups=tuple(msgspec.convert(one, Group) for one in held["groups"].values()),
            timeout_seconds=5,
        )


@pytest.mark.parametrize(("name", "role"), [("dora", "administrator"), ("oscar", "operator"), ("vera", "auditor")])
def test_a_person_has_the_role_of_their_group_by_the_labs_password(
    layout: Layout, settings: Settings, name: str, role: str
) -> None:
    password = (layout.secrets / people.PERSON_FILE).read_text(encoding="utf-8").strip()
    secret = settings.password_path.strip()  # the site has the file's text here
    (server,) = settings.servers
    said = talk.prove(settings, server, secret, name, password)
    assert (said.outcome, said.role) == ("proved", role)
    assert talk.prove(settings, server, secret, name, "another").outcome == "refused"


def test_a_directory_that_cannot_run_says_why(layout: Layout, tmp_path: Path) -> None:
    pki = DevicePki(tmp_path)
    pki.authority("company")
    pki.issue("directory", by="company", names="IP:127.0.0.1", usage="serverAuth")
    certificate, key = map(Path, pki.pair("directory"))
    good = people.contents(layout.secrets)
    broken = slapd.Contents(good.suffix, good.groups, good.account, good.entries + "dn: nonsense\n")
    with (
        slapd.folder() as place,
        pytest.raises(slapd.SlapdError, match="takes not all entries"),
        slapd.serving(place, (certificate, key), broken, host="127.0.0.1", ldaps=free_port()),
    ):
        pass
