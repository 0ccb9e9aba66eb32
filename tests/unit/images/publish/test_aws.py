"""A disk becomes an AMI: block by block, by the build's parameters, once, and again from where an earlier run ended."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from images.papers.proof import Proven, proven
from images.paths import REPO
from images.publish import aws, aws_errors
from images.publish.aws import Ami, AwsError, Encryption, Publication
from images.publish.disk import verified
from tests.unit.images.publish import amazon, built
from tests.unit.images.publish.amazon import Amazon

POLICY = REPO / "images/publish/files/aws-policy.json"
PLAIN = Encryption()
KEY_ARN = "arn:aws:kms:eu-central-1:123456789012:key/0f1e"
DISK = f"sentry-{built.VERSION}.raw.zst"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Proven:
    """What a build left, proven."""
    return proven(built.folder(tmp_path_factory.mktemp("built")), None, throw_away=True)


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Amazon]:
    """An account with nothing in it."""
    with amazon.running(monkeypatch) as made:
        yield made


def published(
    cloud: Amazon, files: Proven, encryption: Encryption = PLAIN, key: tuple[str, str] = ("key", "secret")
) -> Ami:
    wanted = aws.parameters(files, f"sentry-{built.VERSION}.aws.json")
    with aws_errors.told(amazon.REGION), verified(files, DISK, aws.BLOCK) as disk:
        return Publication(cloud.clients(key), lambda _: None, sleep=lambda _: None).publish(disk, wanted, encryption)


def test_the_snapshot_is_the_disk_and_only_what_is_not_zero_was_sent(cloud: Amazon, files: Proven) -> None:
    made = published(cloud, files)
    raw = built.unpacked(files.folder / DISK)
    assert cloud.content(made.snapshot, len(raw)) == raw
    blocks = [raw[at : at + aws.BLOCK] for at in range(0, len(raw), aws.BLOCK)]
    assert cloud.puts == sum(any(block) for block in blocks) < len(blocks)


def test_the_image_is_registered_with_exactly_what_the_build_left_and_tags(cloud: Amazon, files: Proven) -> None:
    made = published(cloud, files)
    (said,) = cloud.registered
    tags = said.pop("TagSpecifications")
    left = json.loads((files.folder / f"sentry-{built.VERSION}.aws.json").read_text())["register-image"]
    assert left["BlockDeviceMappings"][0]["Ebs"].pop("SnapshotId") == "<snapshot>"
    assert said["BlockDeviceMappings"][0]["Ebs"].pop("SnapshotId") == made.snapshot
    assert said == left
    assert (said["BootMode"], said["TpmSupport"], said["ImdsSupport"], said["EnaSupport"]) == (
        "uefi",
        "v2.0",
        "v2.0",
        True,
    )
    assert said["BlockDeviceMappings"][0]["Ebs"]["VolumeType"] == "gp3"
    assert {tag["Key"]: tag["Value"] for tag in tags[0]["Tags"]} == {
        "Name": "sentry-1.2.3",
        "sentry-sha256": files.digests[DISK],
        "sentry-version": "1.2.3",
    }


def test_again_it_finds_what_is_there_and_sends_nothing(cloud: Amazon, files: Proven) -> None:
    first = published(cloud, files)
    sent = cloud.puts
    again = published(cloud, files)
    assert again == Ami(first.image, first.snapshot, first.region, existed=True)
    assert (cloud.puts, len(cloud.registered), len(cloud.snapshots)) == (sent, 1, 1)


def test_what_was_interrupted_while_it_was_sent_is_written_on(cloud: Amazon, files: Proven) -> None:
    cloud.fails_after = 2
    with pytest.raises(AwsError, match="The line is cut here"):
        published(cloud, files)
    assert not cloud.registered
    cloud.fails_after = None
    made = published(cloud, files)
    assert list(cloud.snapshots) == [made.snapshot]
    raw = built.unpacked(files.folder / DISK)
    assert cloud.content(made.snapshot, len(raw)) == raw


def test_a_snapshot_that_is_complete_is_registered_without_being_sent_again(
    cloud: Amazon, files: Proven, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("images.publish.aws._filled", lambda *_: {"Name": "a"})
        with pytest.raises(AwsError):
            published(cloud, files)
    sent = cloud.puts
    made = published(cloud, files)
    assert (cloud.puts, list(cloud.snapshots)) == (sent, [made.snapshot])


def test_a_snapshot_that_is_still_being_completed_is_waited_for(cloud: Amazon, files: Proven) -> None:
    cloud.ends_when_completed = True
    with pytest.raises(AwsError, match="The line is cut here"):
        published(cloud, files)
    cloud.ends_when_completed, cloud.still_pending = False, 1
    made = published(cloud, files)
    assert list(cloud.snapshots) == [made.snapshot]
    assert len(cloud.registered) == 1


def test_a_snapshot_that_aws_gave_up_is_left_and_another_is_written(cloud: Amazon, files: Proven) -> None:
    cloud.fails_after = 0
    with pytest.raises(AwsError):
        published(cloud, files)
    (given_up,) = cloud.snapshots
    cloud.snapshots[given_up].status = "error"
    cloud.fails_after = None
    made = published(cloud, files)
    assert sorted(cloud.snapshots) == sorted([given_up, made.snapshot])


def test_a_snapshot_that_is_not_known_everywhere_yet_is_waited_for(cloud: Amazon, files: Proven) -> None:
    cloud.unknown_puts = 3
    made = published(cloud, files)
    assert cloud.snapshots[made.snapshot].status == "completed"


def test_a_block_that_arrives_otherwise_spoils_the_whole(cloud: Amazon, files: Proven) -> None:
    cloud.tampers = True
    with pytest.raises(AwsError, match="CompleteSnapshot: ValidationException"):
        published(cloud, files)
    assert not cloud.registered


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (Encryption(), (None, None)),
        (Encryption(wanted=True), (True, None)),
        (Encryption(wanted=True, key=KEY_ARN), (True, KEY_ARN)),
    ],
)
def test_it_is_encrypted_as_was_asked(
    cloud: Amazon, files: Proven, wanted: Encryption, told: tuple[object, object]
) -> None:
    published(cloud, files, wanted)
    assert cloud.encrypted == [told]


def test_a_snapshot_in_clear_is_not_taken_where_encryption_is_asked_for(cloud: Amazon, files: Proven) -> None:
    cloud.fails_after = 1
    with pytest.raises(AwsError):
        published(cloud, files)
    cloud.fails_after = None
    made = published(cloud, files, Encryption(wanted=True))
    assert cloud.encrypted == [(None, None), (True, None)]
    assert cloud.snapshots[made.snapshot].encrypted


def test_the_name_of_another_image_is_not_taken(cloud: Amazon, files: Proven) -> None:
    published(cloud, files)
    wanted = aws.parameters(files, f"sentry-{built.VERSION}.aws.json")
    with verified(files, DISK, aws.BLOCK) as disk:
        other = replace(disk, digest="0" * 64)
        with pytest.raises(AwsError, match=r"the name sentry-1\.2\.3 is taken by ami-"):
            Publication(cloud.clients(), lambda _: None).publish(other, wanted, Encryption())


def test_an_image_that_is_not_as_it_was_told_to_be_is_an_error(cloud: Amazon, files: Proven) -> None:
    cloud.said_of_images = {"ImdsSupport": None}
    with pytest.raises(AwsError, match="ImdsSupport"):
        published(cloud, files)


# --- rights ----------------------------------------------------------------------------------------------------------


def actions() -> list[str]:
    """What the policy permits."""
    found: list[str] = []
    for statement in json.loads(POLICY.read_text())["Statement"]:
        said = statement["Action"]
        found += [said] if isinstance(said, str) else said
    return found


def allowing(*permitted: str) -> dict[str, Any]:
    """The policy without its resources and conditions, of which moto knows nothing."""
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(permitted), "Resource": "*"}]}


def test_the_policy_permits_enough(cloud: Amazon, files: Proven) -> None:
    key = cloud.account_with(allowing(*actions()))
    assert published(cloud, files, key=key).existed is False


@pytest.mark.parametrize("action", sorted(set(actions()) - {"ec2:CreateTags"}))
def test_the_policy_permits_nothing_that_is_not_needed(cloud: Amazon, files: Proven, action: str) -> None:
    """ec2:CreateTags is left out: moto does not ask for it where tags come with a call, as AWS does."""
    key = cloud.account_with(allowing(*(set(actions()) - {action})))
    with pytest.raises(
        AwsError, match=r"do not permit it; what is needed stands in images/publish/files/aws-policy\.json"
    ):
        published(cloud, files, key=key)


def test_no_right_of_the_policy_deletes_or_reaches_other_snapshots() -> None:
    assert not [action for action in actions() if "Delete" in action or "*" in action or "Modify" in action]
    writing = [one for one in json.loads(POLICY.read_text())["Statement"] if "ebs:" in json.dumps(one["Action"])]
    assert len(writing) == 2
    assert all("sentry-sha256" in json.dumps(one["Condition"]) for one in writing)


# --- what is refused -------------------------------------------------------------------------------------------------


def test_a_quota_is_said_to_be_one(cloud: Amazon, files: Proven) -> None:
    cloud.quota = True
    with pytest.raises(AwsError, match="a quota of this account is used up"):
        published(cloud, files)


def test_credentials_that_are_not_taken_are_said_to_be_so(cloud: Amazon, files: Proven) -> None:
    cloud.account_with(allowing(*actions()))
    with pytest.raises(AwsError, match="these credentials are not taken"):
        published(cloud, files, key=("AKIAUNKNOWN", "x"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "holds no parameters of register-image"),
        ('{"register-image": {"Name": "a", "BlockDeviceMappings": []}}', "holds no parameters"),
        (
            '{"register-image": {"Name": "a", "BlockDeviceMappings": [{"Ebs": {"SnapshotId": "snap-1", "VolumeSize": 16}}]}}',
            "found the snapshot 'snap-1'; allowed: <snapshot>",
        ),
    ],
)
def test_parameters_that_are_none_are_refused(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "a.aws.json").write_text(content)
    digests = {"a.aws.json": hashlib.sha256(content.encode()).hexdigest()}
    with pytest.raises(AwsError, match=said):
        aws.parameters(Proven(tmp_path, digests), "a.aws.json")
