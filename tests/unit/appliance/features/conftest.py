"""Two whole sites as trees: the lab's, and a host with one interface that uses every optional setting."""

import shutil
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from appliance.config import site
from appliance.config.schema import Schema
from appliance.config.secrets import Memory
from appliance.features import FEATURES
from appliance.features.base import Tree
from appliance.plan import accept

REPO = Path(__file__).parents[4]
MATERIAL = Path(__file__).parent / "material"
# What the lab makes anew each time, by the paths sites/lab.yml names; here it is always the same.
LAB_FILES = {
    "secrets/enable.hash": "admin.hash",
    "secrets/admin.hash": "admin.hash",
    "secrets/admin.pub": "ecdsa.pub",
    "secrets/snmp.auth": "snmp.auth",
    "secrets/snmp.privacy": "snmp.privacy",
    "lab/backend-ca.pem": "authority.pem",
    "lab/card-ca.pem": "cards.pem",
    "lab/card-ca.crl.pem": "cards.crl.pem",
}
SITES = ("lab", "one_interface")

Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="session")
def schema() -> Schema:
    """The appliance's own schema."""
    return Schema(FEATURES)


@pytest.fixture(scope="session")
def raw_trees(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The sites as an operator writes them, `!file` resolved."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "sites").mkdir()
    shutil.copy(REPO / "sites" / "lab.yml", folder / "sites")
    for place, source in LAB_FILES.items():
        target = folder / "build" / place
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(MATERIAL / source, target)
    return {
        "lab": site.load(folder / "sites" / "lab.yml"),
        "one_interface": site.load(MATERIAL / "one_interface.yml"),
    }


@pytest.fixture(scope="session")
def vault() -> Memory:
    """Where the sites' secrets went."""
    return Memory()


@pytest.fixture(scope="session")
def trees(raw_trees: dict[str, dict[str, Any]], schema: Schema, vault: Memory) -> dict[str, Tree]:
    """The sites checked and completed, their secrets swapped for references: what features get to see."""
    return {name: accept(schema, deepcopy(tree), {}, vault) for name, tree in raw_trees.items()}


@pytest.fixture
def lab_with(raw_trees: dict[str, dict[str, Any]], schema: Schema, vault: Memory) -> Callable[[Change], Tree]:
    """The lab's tree after a change of what the operator wrote, accepted; raises `InvalidError` when it is refused."""

    def make(change: Change) -> Tree:
        tree = deepcopy(raw_trees["lab"])
        change(tree)
        return accept(schema, tree, {}, vault)

    return make
