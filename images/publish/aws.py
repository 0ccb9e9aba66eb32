"""Amazon EC2: the raw disk as an EBS snapshot, and that as an image (AMI) by exactly the parameters that the build left.

The snapshot is written block by block with the EBS direct APIs: no bucket that somebody could read and has to be emptied, no role
for VM Import, every block's SHA-256 held against what arrived, and only the blocks that are not all zeros are sent. ImportImage
would change the guest (`images.formats.aws`).

A tag with the disk's digest tells a later run what is there: an image is left as it is, a snapshot that is complete is
registered, and one that is not is written on. Nothing is ever deleted, so the right to do that is not needed.
"""

import base64
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from images.papers.proof import Proven
from images.publish.disk import Disk
from images.publish.sending import send

BLOCK = 524_288  # EBS direct APIs, "Block indexes"
GIB = 1 << 30
IDLE_MINUTES = 60  # without a block, then AWS gives the snapshot up (StartSnapshot, Timeout)
APPEARS_SECONDS = 120.0  # until a snapshot that was started can be written to, everywhere in AWS
PAUSE = 2.0
WAITS = {"Delay": 15, "MaxAttempts": 240}  # an hour, for a snapshot or an image to be there
MOST_PARAMETERS = 65_536  # bytes of the build's JSON
DIGEST, VERSION = "sentry-sha256", "sentry-version"  # tags; images/publish/files/aws-policy.json names them, too
PLACEHOLDER = "<snapshot>"
READ_BACK = (
    "Architecture",
    "VirtualizationType",
    "RootDeviceName",
    "EnaSupport",
    "BootMode",
    "TpmSupport",
    "ImdsSupport",
)


class AwsError(RuntimeError):
    """The image cannot be made there; the message says why and what is allowed."""


@dataclass(frozen=True, slots=True)
class Encryption:
    """Whether the snapshot is encrypted, and by which key (ARN; None: the account's default key)."""

    wanted: bool = False
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Ami:
    """An image that can be started: its id, its snapshot's, its region, and whether it was there before."""

    image: str
    snapshot: str
    region: str
    existed: bool


def parameters(proven: Proven, name: str) -> dict[str, Any]:
    """RegisterImage's parameters, as the build left them. Raises `ProofError`, `AwsError`."""
    try:
        wanted = json.loads(proven.read(name, MOST_PARAMETERS))["register-image"]
        (disk,) = wanted["BlockDeviceMappings"]
        placeholder, image, volume = disk["Ebs"]["SnapshotId"], wanted["Name"], disk["Ebs"]["VolumeSize"]
    except (ValueError, KeyError, TypeError) as error:
        raise AwsError(f"{name}: holds no parameters of register-image with one disk ({error!r})") from error
    if placeholder != PLACEHOLDER or not isinstance(image, str) or not isinstance(volume, int):
        raise AwsError(f"{name}: found the snapshot {placeholder!r}; allowed: {PLACEHOLDER}, which is filled in here")
    return dict(wanted)


class Publication:
    """One disk on its way to be an image, by clients of `ec2` and `ebs`."""

    def __init__(
        self,
        clients: Mapping[str, Any],
        tell: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._ec2, self._ebs = clients["ec2"], clients["ebs"]
        self._tell = tell
        self._clock, self._sleep = clock, sleep
        self._region = str(self._ec2.meta.region_name)

    def publish(self, disk: Disk, wanted: Mapping[str, Any], encryption: Encryption) -> Ami:
        """The image, made or found. Raises `AwsError`, and botocore's errors."""
        volume = wanted["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"]
        if volume * GIB < disk.size:
            raise AwsError(f"{disk.name}: holds {disk.size} bytes, and the image's volume has {volume} GiB")
        image = self._registered(str(wanted["Name"]), disk)
        if image is not None:
            self._tell(f"the image {image['ImageId']} is there already")
            snapshot = str(image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"])
            return self._available(str(image["ImageId"]), snapshot, wanted, existed=True)
        snapshot = self._snapshot(disk, encryption, str(wanted["Description"]))
        made = self._ec2.register_image(**_filled(wanted, snapshot, _tags(disk, str(wanted["Name"]))))
        return self._available(str(made["ImageId"]), snapshot, wanted, existed=False)

    def _registered(self, name: str, disk: Disk) -> Any:
        """The account's image of this name, which must be of this disk; None where there is none."""
        named = [{"Name": "name", "Values": [name]}]
        for image in self._ec2.describe_images(Owners=["self"], Filters=named)["Images"]:
            if _tagged(image) != disk.digest:
                raise AwsError(
                    f"{self._region}: the name {name} is taken by {image['ImageId']}, which is not of this disk; "
                    "build with another version, or deregister that one"
                )
            return image
        return None

    def _snapshot(self, disk: Disk, encryption: Encryption, description: str) -> str:
        """A complete snapshot of the disk."""
        started = None
        tagged = [{"Name": f"tag:{DIGEST}", "Values": [disk.digest]}]
        for page in self._ec2.get_paginator("describe_snapshots").paginate(OwnerIds=["self"], Filters=tagged):
            for found in page["Snapshots"]:
                if found["State"] == "error":
                    self._tell(
                        f"AWS gave up the snapshot {found['SnapshotId']} of an earlier run; delete it when you like"
                    )
                elif _encrypted_as(found, encryption):
                    if found["State"] == "completed":
                        self._tell(f"the snapshot {found['SnapshotId']} is there already")
                        return str(found["SnapshotId"])
                    started = str(found["SnapshotId"])
        if started is None:
            started = self._start(disk, encryption, description)
            self._tell(f"writes the snapshot {started}: {disk.blocks} blocks of {BLOCK // 1024} KiB")
            self._write(started, disk)
        else:
            self._tell(f"writes on the snapshot {started}, which an earlier run began")
            try:
                self._write(started, disk)
            except ClientError as error:  # an earlier run has completed it, and AWS is still at work on it
                if error.response["Error"]["Code"] != "ValidationException":
                    raise
                self._tell(f"the snapshot {started} takes no more blocks; waits for AWS to complete it")
        self._ec2.get_waiter("snapshot_completed").wait(SnapshotIds=[started], WaiterConfig=WAITS)
        return started

    def _start(self, disk: Disk, encryption: Encryption, description: str) -> str:
        chosen: dict[str, Any] = {"Encrypted": True} if encryption.wanted else {}
        if encryption.key is not None:
            chosen["KmsKeyArn"] = encryption.key
        answer = self._ebs.start_snapshot(
            VolumeSize=-(-disk.size // GIB),
            Description=description,
            Tags=_tags(disk, description),
            Timeout=IDLE_MINUTES,
            **chosen,
        )
        if answer["BlockSize"] != BLOCK:
            raise AwsError(f"{self._region}: found blocks of {answer['BlockSize']} bytes; known are {BLOCK}")
        return str(answer["SnapshotId"])

    def _write(self, snapshot: str, disk: Disk) -> None:
        digests: dict[int, bytes] = {}
        until = self._clock() + APPEARS_SECONDS

        def put(part: tuple[int, bytes]) -> None:
            index, content = part
            digests[index] = self._put(snapshot, index, content.ljust(BLOCK, b"\0"), until)

        send(disk.parts(), put, disk.blocks, self._tell)
        whole = hashlib.sha256(b"".join(digests[index] for index in sorted(digests)))
        self._ebs.complete_snapshot(
            SnapshotId=snapshot,
            ChangedBlocksCount=len(digests),
            Checksum=base64.b64encode(whole.digest()).decode(),
            ChecksumAlgorithm="SHA256",
            ChecksumAggregationMethod="LINEAR",
        )

    def _put(self, snapshot: str, index: int, content: bytes, until: float) -> bytes:
        """Write one block; its SHA-256, which AWS has compared."""
        digest = hashlib.sha256(content).digest()
        while True:
            try:
                self._ebs.put_snapshot_block(
                    SnapshotId=snapshot,
                    BlockIndex=index,
                    BlockData=content,
                    DataLength=len(content),
                    Checksum=base64.b64encode(digest).decode(),
                    ChecksumAlgorithm="SHA256",
                )
                return digest
            except ClientError as error:  # the snapshot is not known everywhere yet
                if error.response["Error"]["Code"] != "ResourceNotFoundException" or self._clock() > until:
                    raise
            self._sleep(PAUSE)

    def _available(self, image: str, snapshot: str, wanted: Mapping[str, Any], *, existed: bool) -> Ami:
        """The image, once it can be started and AWS says of it what it was told."""
        self._ec2.get_waiter("image_available").wait(ImageIds=[image], WaiterConfig=WAITS)
        (found,) = self._ec2.describe_images(ImageIds=[image])["Images"]
        other = {name: found.get(name) for name in READ_BACK if found.get(name) != wanted[name]}
        if other:
            raise AwsError(
                f"{self._region}: the image {image} has {other}; wanted: { ({k: wanted[k] for k in other}) }"
            )
        return Ami(image, snapshot, self._region, existed)


def _filled(wanted: Mapping[str, Any], snapshot: str, tags: list[dict[str, str]]) -> dict[str, Any]:
    """The call's parameters: those of the build with its one blank filled in, and tags."""
    (disk,) = wanted["BlockDeviceMappings"]
    filled = {**disk, "Ebs": {**disk["Ebs"], "SnapshotId": snapshot}}
    specified = [{"ResourceType": "image", "Tags": tags}]
    return {**wanted, "BlockDeviceMappings": [filled], "TagSpecifications": specified}


def _tags(disk: Disk, name: str) -> list[dict[str, str]]:
    version = disk.name.removeprefix("sentry-").removesuffix(".raw.zst")
    return [{"Key": key, "Value": value} for key, value in (("Name", name), (DIGEST, disk.digest), (VERSION, version))]


def _tagged(found: Mapping[str, Any]) -> str:
    return next((str(tag["Value"]) for tag in found.get("Tags", ()) if tag["Key"] == DIGEST), "")


def _encrypted_as(found: Mapping[str, Any], wanted: Encryption) -> bool:
    """An account may encrypt by itself: what was not asked for is no reason to write it again."""
    if not wanted.wanted:
        return True
    return bool(found.get("Encrypted")) and wanted.key in (None, found.get("KmsKeyId"))
