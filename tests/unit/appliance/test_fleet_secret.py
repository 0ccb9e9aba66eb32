"""The secret of the policy keys, made by the real openssl in a folder of the test's own."""

from pathlib import Path

import pytest

from appliance import fleet_secret, process
from appliance.features.base import Tree
from appliance.features.tls import FOLDER
from appliance.fleet_secret import OWN, SITES, ensure, path
from sentry_runtime.gateway import policies
from sentry_runtime.settings import Gateway, ServerTls

GIVEN = {"secret:1": "the fleet's secret, of thirty-two signs".replace(" ", "-"), "secret:2": "another-secret" * 3}


class Box:
    """A machine below `root`; owners and units are written down instead of changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.owners: dict[str, str] = {}
        self.told: list[str] = []
        self.calls: list[list[str]] = []
        self.place(OWN).parent.mkdir(parents=True)

    def place(self, where: str) -> Path:
        """Where `where` of the appliance lies here."""
        return self.root / where.lstrip("/")

    def read(self, where: str) -> str | None:
        """The text of a file."""
        place = self.place(where)
        return place.read_text() if place.exists() else None

    def secret(self, reference: str) -> str:
        """What the site gave."""
        return GIVEN[reference]

    def run(self, argv: list[str], *, stdin: str | None = None) -> str:
        """The real command on this machine's paths, but for what only root may do."""
        self.calls.append(argv)
        if argv[0] == "systemctl":
            self.told.append(argv[-1])
            return ""
        if argv[0] == "install":
            owner, group = argv[argv.index("-o") + 1], argv[argv.index("-g") + 1]
            self.owners[argv[-1].removesuffix(".new")] = f"{owner}:{group}"
            argv = [word for word in argv if word not in ("-o", "-g", owner, group)]
        done = process.run([word.replace(FOLDER, str(self.place(FOLDER))) for word in argv], stdin=stdin)
        if argv[0] == "stat":
            return f"{done.split()[0]} {self.owners[argv[-1]]}\n"
        return done


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """A machine without a secret."""
    return Box(tmp_path)


def tree(reference: str | None = None) -> Tree:
    """As much of a tree as the secret looks at."""
    return {"gateway": {} if reference is None else {"fleet_secret": reference}}


def test_an_appliance_makes_a_secret_of_its_own_once(box: Box) -> None:
    """32 random bytes in hex, for root and the gateway's group; the second time nothing happens, and no service is told."""
    assert ensure(tree(), box)
    own = box.read(OWN)
    assert own is not None
    assert len(bytes.fromhex(own)) == 32
    assert box.place(OWN).stat().st_mode & 0o777 == 0o640
    assert (box.owners[OWN], path(tree())) == (f"root:{fleet_secret.GROUP}", OWN)
    box.told.clear()
    assert not ensure(tree(), box)
    assert (box.read(OWN), box.told) == (own, [])


def test_the_gateway_takes_the_secret_that_was_made(box: Box) -> None:
    """By the data plane's own reader."""
    ensure(tree(), box)
    gateway = Gateway(
        listeners=(), tls=ServerTls(certificate="", key=""), backends=(), fleet_secret=str(box.place(OWN))
    )
    assert len(policies.load(gateway).secret) == fleet_secret.HEX_DIGITS


def test_two_appliances_make_different_secrets(tmp_path: Path) -> None:
    """Unless the site gives them one."""
    boxes = [Box(tmp_path / name) for name in ("one", "two")]
    for reference, same in ((None, False), ("secret:1", True)):
        for box in boxes:
            ensure(tree(reference), box)
        one, two = (box.read(path(tree(reference))) for box in boxes)
        assert (one == two) is same


def test_the_sites_secret_lies_beside_the_own_one_and_goes_without_touching_it(box: Box) -> None:
    """So a way back finds the keys that devices had."""
    ensure(tree(), box)
    own = box.read(OWN)
    assert ensure(tree("secret:1"), box)
    assert path(tree("secret:1")) == SITES
    assert (box.read(SITES), box.read(OWN)) == (GIVEN["secret:1"], own)
    assert box.place(SITES).stat().st_mode & 0o777 == 0o640
    assert not ensure(tree("secret:1"), box)
    assert ensure(tree(), box)
    assert (box.read(SITES), box.read(OWN)) == (None, own)


def test_a_running_gateway_is_told_of_another_secret_and_of_nothing_else(box: Box) -> None:
    """The file it reads is the one that counts."""
    ensure(tree("secret:1"), box)
    box.told.clear()
    box.place(OWN).unlink()
    assert ensure(tree("secret:1"), box)
    assert box.told == []
    assert ensure(tree("secret:2"), box)
    assert box.told == [fleet_secret.UNIT]


@pytest.mark.parametrize("damage", ["", "short"])
def test_a_damaged_secret_is_made_anew(box: Box, damage: str) -> None:
    """The gateway would not start with it."""
    ensure(tree(), box)
    box.place(OWN).write_text(damage)
    assert ensure(tree(), box)
    assert len(box.read(OWN) or "") == fleet_secret.HEX_DIGITS


def test_a_secret_that_others_may_read_is_put_right(box: Box) -> None:
    """With the same keys."""
    ensure(tree(), box)
    own = box.read(OWN)
    box.place(OWN).chmod(0o644)
    assert ensure(tree(), box)
    assert (box.read(OWN), box.place(OWN).stat().st_mode & 0o777) == (own, 0o640)


def test_no_secret_is_in_an_argument_list(box: Box) -> None:
    """Anybody on the machine may read those."""
    ensure(tree("secret:1"), box)
    own = box.read(OWN)
    assert own
    words = [word for argv in box.calls for word in argv]
    assert words
    assert not [word for word in words if own in word or GIVEN["secret:1"] in word]
