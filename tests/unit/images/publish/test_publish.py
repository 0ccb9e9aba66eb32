"""The command line and the playbook: what they ask for, what they print, and that no secret is in it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.paths import REPO
from tests.unit.images.publish import amazon, built
from tests.unit.images.publish.amazon import Amazon

SECRET = "wJalrXUtnFEMI-a-secret"
AZURE = ["azure", "--subscription", "0", "--resource-group", "images", "--gallery", "g", "--region", "westeurope"]


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Amazon]:
    """An account with nothing in it."""
    with amazon.running(monkeypatch) as made:
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a build left, signed by a throw-away key."""
    return built.folder(tmp_path_factory.mktemp("built"))


def told(words: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """`python -m images publish` with these words, and no more of our environment than it needs."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    argv = [sys.executable, "-m", "images", "publish", *words]
    return subprocess.run(
        argv,
        cwd=REPO,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def to_aws(folder: Path, *more: str) -> list[str]:
    return ["aws", "--folder", str(folder), "--throw-away-key", "--region", amazon.REGION, *more]


def test_it_prints_what_was_made_as_json_and_how_far_it_is_beside(cloud: Amazon, folder: Path) -> None:
    done = told(to_aws(folder), cloud.environment(("AKIAEXAMPLE", SECRET)))
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made == {
        "image": made["image"],
        "snapshot": next(iter(cloud.snapshots)),
        "region": amazon.REGION,
        "existed": False,
    }
    assert "sentry-1.2.3.raw.zst: verified" in done.stderr
    assert "(100 %)" in done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_the_playbook_publishes_and_says_what_changed(cloud: Amazon, folder: Path) -> None:
    """Twice: the second time nothing changes."""
    program = Path(sys.executable).with_name("ansible-playbook")
    words = ["target=aws", f"folder={folder}", "throw_away_key=true", f"region={amazon.REGION}"]
    argv = [
        str(program),
        "-i",
        "localhost,",
        "playbooks/publish.yml",
        *(part for word in words for part in ("-e", word)),
    ]
    environment = {**os.environ, **cloud.environment(("AKIAEXAMPLE", SECRET))}
    said = []
    for _ in range(2):
        done = subprocess.run(
            argv, cwd=REPO, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, done.stdout + done.stderr
        said.append(done.stdout)
        assert SECRET not in done.stdout + done.stderr
    assert "changed=1" in said[0]
    assert "changed=0" in said[1]
    assert len(cloud.registered) == 1


@pytest.mark.parametrize("word", ["target=gcp", "target=", "other=1"])
def test_the_playbook_refuses_a_target_that_is_none(word: str) -> None:
    program = Path(sys.executable).with_name("ansible-playbook")
    argv = [str(program), "-i", "localhost,", "playbooks/publish.yml", "-e", word]
    done = subprocess.run(argv, cwd=REPO, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode != 0
    assert "say -e target=aws or azure" in done.stdout


NOWHERE = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
}


def test_without_credentials_it_is_said_how_to_give_some(folder: Path) -> None:
    done = told(to_aws(folder), NOWHERE)
    assert (done.returncode, done.stdout) == (1, "")
    assert "publish: found no credentials for AWS" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_a_region_it_is_asked_for(folder: Path) -> None:
    done = told(["aws", "--folder", str(folder), "--throw-away-key"], NOWHERE)
    assert done.returncode == 1
    assert "found no region; say --region" in done.stderr


def test_a_region_that_cannot_be_reached_is_named(folder: Path) -> None:
    environment = {
        **NOWHERE,
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
    }
    environment["AWS_MAX_ATTEMPTS"] = "1"
    done = told(["aws", "--folder", str(folder), "--throw-away-key", "--region", "eu-nowhere-1"], environment)
    assert done.returncode == 1
    assert "eu-nowhere-1: is no region of AWS, or cannot be reached from here" in done.stderr


def test_a_profile_that_is_none_is_named(folder: Path) -> None:
    done = told(to_aws(folder, "--profile", "nobody"), NOWHERE)
    assert done.returncode == 1
    assert "nobody" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["aws", "--region", "eu-central-1"], AZURE])
def test_who_says_nothing_of_the_key_sends_nothing(words: list[str]) -> None:
    done = told(words, NOWHERE)
    assert done.returncode == 2
    assert "--public-key" in done.stderr


def test_a_version_that_a_gallery_does_not_take_is_refused_before_credentials_are_looked_for(folder: Path) -> None:
    done = told([*AZURE, "--folder", str(folder), "--throw-away-key", "--gallery-version", "1.2"], NOWHERE)
    assert done.returncode == 1
    assert "a gallery takes three numbers with dots" in done.stderr
