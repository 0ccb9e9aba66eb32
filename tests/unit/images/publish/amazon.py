"""moto's EC2 and EBS over HTTP, made as strict as AWS documents them: digests, counts, states and rights are held against it.

moto itself takes every block and every snapshot. What it leaves out is added here: blocks of 512 KiB with their SHA-256
compared, the linear checksum of the whole, a snapshot that is pending until it is completed, and images that keep their
parameters.
"""

import base64
import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from botocore.config import Config
from moto import settings
from moto.core.authorization import ActionAuthenticatorMixin
from moto.core.exceptions import JsonRESTError
from moto.core.responses import ActionResult
from moto.ebs.models import EBSBackend, ebs_backends
from moto.ebs.responses import EBSResponse
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import ec2_backends
from moto.ec2.responses.amis import AmisResponse
from moto.ec2.responses.elastic_block_store import ElasticBlockStore
from moto.iam.access_control import IAMRequest
from moto.moto_server.threaded_moto_server import ThreadedMotoServer

from tests.ports import free_port

REGION, ACCOUNT = "eu-central-1", "123456789012"
BLOCK = 524_288
REGISTERED = (
    "Name", "Description", "Architecture", "VirtualizationType", "RootDeviceName", "BlockDeviceMappings", "EnaSupport",
    "SriovNetSupport", "BootMode", "TpmSupport", "ImdsSupport", "TagSpecifications",
)  # fmt: skip
SETTING_UP = 3  # requests that are made before rights count: an account, its key, its policy


class EbsError(JsonRESTError):
    """An error of the EBS direct APIs."""

    code = 400


class EbsRequest(IAMRequest):
    """Rights of the EBS direct APIs, refused in their own form. Signatures are looked at with EC2 only: of a request without a
    body moto reckons another one than the sender."""

    def check_signature(self) -> None:
        """Of EC2's."""
        if self._service != "ebs":
            super().check_signature()

    def _raise_access_denied(self) -> None:
        if self._service == "ebs":
            raise EbsError("AccessDeniedException", f"not authorized to perform: {self._action}")
        super()._raise_access_denied()


@dataclass
class Amazon:
    """A running account: where it is, what was registered there, and what shall go wrong."""

    endpoint: str
    registered: list[dict[str, Any]] = field(default_factory=list)
    encrypted: list[tuple[object, object]] = field(default_factory=list)
    puts: int = 0
    unknown_puts: int = 0
    fails_after: int | None = None
    quota: bool = False
    tampers: bool = False
    ends_when_completed: bool = False
    still_pending: int = 0
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    said_of_images: dict[str, Any] = field(default_factory=dict)

    def environment(self, key: tuple[str, str] = ("key", "secret")) -> dict[str, str]:
        """What the AWS tools read; no file of this machine is looked at, and no address but this."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": key[0],
            "AWS_SECRET_ACCESS_KEY": key[1],
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        }

    def client(self, service: str, key: tuple[str, str] = ("key", "secret")) -> Any:
        """A client of the account."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=key[0],
            aws_secret_access_key=key[1],
            config=Config(retries={"total_max_attempts": 1}, max_pool_connections=32),
        )

    def clients(self, key: tuple[str, str] = ("key", "secret")) -> dict[str, Any]:
        """Those that a publication takes."""
        return {name: self.client(name, key) for name in ("ec2", "ebs")}

    def account_with(self, policy: dict[str, Any]) -> tuple[str, str]:
        """An access key that may do what the policy says; from now on rights count."""
        ActionAuthenticatorMixin.request_count = 0
        settings.INITIAL_NO_AUTH_ACTION_COUNT = float(SETTING_UP)
        iam = self.client("iam")
        iam.create_user(UserName="publisher")
        key = iam.create_access_key(UserName="publisher")["AccessKey"]
        iam.put_user_policy(UserName="publisher", PolicyName="publish", PolicyDocument=json.dumps(policy))
        return str(key["AccessKeyId"]), str(key["SecretAccessKey"])

    @property
    def snapshots(self) -> dict[str, Any]:
        """Id -> what EC2 keeps of each snapshot that was started."""
        started = ebs_backends[ACCOUNT][REGION].snapshots
        return {name: ec2_backends[ACCOUNT][REGION].snapshots[name] for name in started}

    def content(self, snapshot: str, size: int) -> bytes:
        """The disk that a volume made of it would have."""
        disk = bytearray(size)
        for index, block in ebs_backends[ACCOUNT][REGION].snapshots[snapshot].blocks.items():
            disk[index * BLOCK : (index + 1) * BLOCK] = block.block_data
        return bytes(disk[:size])


@contextlib.contextmanager
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[Amazon]:
    """Serve an empty account until the block ends."""
    server = ThreadedMotoServer("127.0.0.1", free_port(), verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    amazon = Amazon(f"http://{host}:{port}")
    monkeypatch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", float("inf"))
    _strict_snapshots(amazon, monkeypatch)
    monkeypatch.setattr("moto.iam.access_control.IAMRequest", EbsRequest)
    _strict_ends(amazon, monkeypatch)
    _strict_images(amazon, monkeypatch)
    _still_at_work(amazon, monkeypatch)
    try:
        yield amazon
    finally:
        server.stop()
        for backends in (ebs_backends, ec2_backends):
            backends.reset()


def _strict_snapshots(amazon: Amazon, monkeypatch: pytest.MonkeyPatch) -> None:
    plain_start = EBSBackend.start_snapshot

    def start(response: EBSResponse) -> ActionResult:
        if amazon.quota:
            raise EbsError("ServiceQuotaExceededException", "Your current service quotas do not allow it.")
        said = {name: response._get_param(name) for name in ("VolumeSize", "Tags", "Description", "Timeout")}
        assert 10 <= said["Timeout"] <= 4_320
        assert "<" not in said["Description"]
        made = plain_start(response.ebs_backend, said["VolumeSize"], said["Tags"], said["Description"])
        made.block_size = BLOCK
        kept = ec2_backends[ACCOUNT][REGION].snapshots[made.snapshot_id]
        kept.status = "pending"
        kept.encrypted, kept.kms_key_id = bool(response._get_param("Encrypted")), response._get_param("KmsKeyArn")
        amazon.encrypted.append((response._get_param("Encrypted"), kept.kms_key_id))
        return ActionResult({"SnapshotId": made.snapshot_id, "Status": "pending", "BlockSize": BLOCK})

    def put(response: EBSResponse) -> ActionResult:
        amazon.puts += 1
        if amazon.unknown_puts:
            amazon.unknown_puts -= 1
            raise EbsError("ResourceNotFoundException", "The snapshot does not exist.")
        if amazon.fails_after is not None and amazon.puts > amazon.fails_after:
            raise EbsError("ValidationException", "The line is cut here.")
        name, index = response._get_param("SnapshotId"), int(response._get_param("BlockIndex"))
        data = response._get_param("BlockData")
        said = response._get_param("Checksum")
        snapshot = response.ebs_backend.snapshots[name]
        found = base64.b64encode(hashlib.sha256(data).digest()).decode()
        whole = len(data) == BLOCK == int(response._get_param("DataLength"))
        if (
            found != said
            or not whole
            or index >= snapshot.volume_size * 2048
            or amazon.snapshots[name].status != "pending"
        ):
            raise EbsError("ValidationException", f"block {index}: {len(data)} bytes, {found} and not {said}")
        if amazon.tampers:
            data = b"\1" + data[1:]
        snapshot.put_block(index, data, said, "SHA256", len(data))
        return ActionResult({"Checksum": said, "ChecksumAlgorithm": "SHA256"})

    monkeypatch.setattr(EBSResponse, "start_snapshot", start)
    monkeypatch.setattr(EBSResponse, "put_snapshot_block", put)


def _strict_ends(amazon: Amazon, monkeypatch: pytest.MonkeyPatch) -> None:
    def complete(response: EBSResponse) -> ActionResult:
        name = response._get_param("SnapshotId")
        blocks = response.ebs_backend.snapshots[name].blocks
        digests = b"".join(hashlib.sha256(blocks[index].block_data).digest() for index in sorted(blocks))
        whole = base64.b64encode(hashlib.sha256(digests).digest()).decode()
        said = (int(response._get_param("ChangedBlocksCount")), response._get_param("Checksum"))
        if said != (len(blocks), whole) or response._get_param("ChecksumAggregationMethod") != "LINEAR":
            raise EbsError("ValidationException", f"found {len(blocks)} blocks, {whole}; told were {said}")
        amazon.snapshots[name].status = "completed"
        if amazon.ends_when_completed:
            raise EbsError("InternalServerException", "The line is cut here.")
        return ActionResult({"Status": "completed"})

    monkeypatch.setattr(EBSResponse, "complete_snapshot", complete)


def _still_at_work(amazon: Amazon, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot may be completed and called pending for a while."""
    plain = ElasticBlockStore.describe_snapshots

    def describe(response: ElasticBlockStore) -> ActionResult:
        found = plain(response)
        if not amazon.still_pending:
            return found
        amazon.still_pending -= 1
        said = [
            {
                "SnapshotId": one.id,
                "State": "pending",
                "Tags": [{"Key": t["key"], "Value": t["value"]} for t in one.get_tags()],
            }
            for one in amazon.snapshots.values()
        ]
        return ActionResult({"Snapshots": said})

    monkeypatch.setattr(ElasticBlockStore, "describe_snapshots", describe)


def _strict_images(amazon: Amazon, monkeypatch: pytest.MonkeyPatch) -> None:
    plain_describe = AmisResponse.describe_images

    def register(response: AmisResponse) -> ActionResult:
        said = {name: response._get_param(name) for name in REGISTERED if response._get_param(name) is not None}
        (disk,) = said["BlockDeviceMappings"]
        snapshot = response.ec2_backend.snapshots.get(disk["Ebs"]["SnapshotId"])
        if snapshot is None or snapshot.status != "completed":
            raise EC2ClientError("InvalidParameterValue", "the snapshot is not completed")
        if said["Name"] in [image.name for image in response.ec2_backend.amis.values()]:
            raise EC2ClientError("InvalidAMIName.Duplicate", f"AMI name {said['Name']} is already in use")
        image = response.ec2_backend.register_image(said["Name"], said["Description"])
        amazon.images[image.id] = said
        (tags,) = said["TagSpecifications"]
        image.add_tags({tag["Key"]: tag["Value"] for tag in tags["Tags"]})
        amazon.registered.append(said)
        return ActionResult({"ImageId": image.id})

    def describe(response: AmisResponse) -> ActionResult:
        plain_describe(response)  # refuses what moto refuses
        names = [value for one in response._get_param("Filters", []) for value in one["Values"]]
        identities = response._get_param("ImageIds", [])
        found = [
            {
                **{name: value for name, value in amazon.images[image.id].items() if name != "TagSpecifications"},
                "ImageId": image.id,
                "State": "available",
                "CreationDate": image.creation_date,
                "Tags": [{"Key": tag["key"], "Value": tag["value"]} for tag in image.get_tags()],
                **amazon.said_of_images,
            }
            for image in response.ec2_backend.amis.values()
            if image.id in amazon.images and (image.id in identities or image.name in names)
        ]
        return ActionResult({"Images": found})

    monkeypatch.setattr(AmisResponse, "register_image", register)
    monkeypatch.setattr(AmisResponse, "describe_images", describe)
