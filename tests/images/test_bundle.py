"""Updates, made and looked at by the real RAUC: taken by who believes their signer, and by nobody once they were touched."""

import hashlib
import shutil
from pathlib import Path

import pytest

from appliance.software import rauc
from images import toolbox
from images.disk.stages import Root
from images.formats.sparse import MIB
from images.paths import Layout
from images.toolbox import Inside
from images.updates import bundle
from images.updates.bundle import BundleError, Slot
from images.updates.signing import Signer, throw_away
from tests.unit.images import disks

pytestmark = pytest.mark.appliance  # root, and the trees that it has had made

VERSION = "9.8.7"
HASH = "ab" * 32


@pytest.fixture(scope="module")
def tools(layout: Layout) -> Inside:
    """The tree of the tools."""
    return toolbox.ensure(layout.build / "images")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundle")


@pytest.fixture(scope="module")
def signer(folder: Path) -> Signer:
    return throw_away(folder / "key")


@pytest.fixture(scope="module")
def made(folder: Path, signer: Signer, tools: Inside) -> Path:
    """A bundle of two small partitions."""
    slot = Slot(
        disks.make(folder / "boot.img", 1, {0: MIB}), Root(disks.make(folder / "root.img", 2, {0: MIB}), MIB, HASH)
    )
    place = folder / bundle.name(f"sentry-{VERSION}", signer)
    bundle.make(slot, VERSION, signer, place, tools, folder / "work")
    return place


def refused(place: Path, authorities: Path, tools: Inside, version: str = VERSION) -> str:
    """What a machine that believes these authorities says of it."""
    work = place.parent
    with pytest.raises(BundleError) as error:
        bundle.read_back(place, version, authorities, tools, work)
    return str(error.value)


def test_what_was_made_is_taken_and_nothing_secret_is_left(
    made: Path, folder: Path, signer: Signer, tools: Inside
) -> None:
    assert made.stat().st_size > MIB
    assert not (folder / "work").exists()
    bundle.read_back(made, VERSION, signer.authorities, tools, folder)
    said = tools.run(
        ["rauc", f"--conf={folder}/machine/system.conf", "info", "--output-format=json-2", str(made)], makes=(folder,)
    ).stdout
    found = rauc.parsed(said)
    assert (found.version, found.root_hash, found.hash_offset, found.boot_bytes) == (VERSION, HASH, MIB, MIB)
    assert found.boot_digest == hashlib.sha256((folder / "boot.img").read_bytes()).hexdigest()


def test_who_believes_somebody_else_refuses_it(made: Path, folder: Path, tools: Inside) -> None:
    other = throw_away(folder / "other")
    assert "signature verification failed" in refused(made, other.authorities, tools)


def test_a_changed_signature_is_refused(made: Path, folder: Path, signer: Signer, tools: Inside) -> None:
    spoilt = folder / "spoilt.raucb"
    data = bytearray(made.read_bytes())
    data[-200] ^= 1
    spoilt.write_bytes(data)
    assert "ignature" in refused(spoilt, signer.authorities, tools)


def test_a_cut_bundle_is_refused(made: Path, folder: Path, signer: Signer, tools: Inside) -> None:
    cut = folder / "cut.raucb"
    shutil.copyfile(made, cut)
    with cut.open("r+b") as file:
        file.truncate(made.stat().st_size - 4096)
    assert refused(cut, signer.authorities, tools)


def test_what_is_no_bundle_is_refused(folder: Path, signer: Signer, tools: Inside) -> None:
    rubbish = folder / "rubbish.raucb"
    rubbish.write_bytes(b"rubbish" * 10_000)
    assert refused(rubbish, signer.authorities, tools)


def test_another_version_than_it_was_made_as_is_noticed(made: Path, signer: Signer, tools: Inside) -> None:
    assert "is not what it was made as" in refused(made, signer.authorities, tools, version="9.8.8")
