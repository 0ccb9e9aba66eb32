"""A real S3 server: moto's, over HTTPS, which checks signatures and rights as AWS does (with botocore's own signer)."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tests.ports import free_port

BUCKET, REGION = "backups", "eu-central-1"
START_SECONDS = 60.0
UNSIGNED = 4  # what is set up before signatures count: an account, its key, its right, the bucket
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["s3:PutObject", "s3:GetObject"], "Resource": f"arn:aws:s3:::{BUCKET}/*"}
    ],
}


@dataclass(frozen=True)
class S3Server:
    """A running server: its endpoint, whose certificate it has, and the access key that may write there."""

    endpoint: str
    trust: str
    key_id: str
    secret: str = field(repr=False)

    def client(self, service: str = "s3") -> Any:
        """Another's client, with the same key."""
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=self.key_id,
            aws_secret_access_key=self.secret,
            verify=self.trust,
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )

    def read(self, key: str) -> bytes:
        """What lies there under this key."""
        return bytes(self.client().get_object(Bucket=BUCKET, Key=key)["Body"].read())


@contextlib.contextmanager
def serving(folder: Path, certificate: tuple[str, str], trust: str) -> Iterator[S3Server]:
    """Run it until the block ends; it forgets everything then."""
    port = free_port()
    argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    argv += ["-c", certificate[0], "-k", certificate[1]]
    environment = {**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": str(UNSIGNED)}
    log = folder / "moto.log"
    with log.open("w") as said:
        server = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=environment)
    try:
        _wait(port, server, log)
        yield _prepared(f"https://127.0.0.1:{port}", trust)
    finally:
        server.terminate()
        server.wait(START_SECONDS)


def _prepared(endpoint: str, trust: str) -> S3Server:
    nobody = S3Server(endpoint, trust, "nobody", "nobody")
    accounts = nobody.client("iam")
    accounts.create_user(UserName="sender")
    key = accounts.create_access_key(UserName="sender")["AccessKey"]
    accounts.put_user_policy(UserName="sender", PolicyName="write", PolicyDocument=json.dumps(POLICY))
    nobody.client().create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    return S3Server(endpoint, trust, key["AccessKeyId"], key["SecretAccessKey"])


def _wait(port: int, server: "subprocess.Popen[bytes]", log: Path) -> None:
    """Until it answers."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f"no S3 server after {START_SECONDS} s: {log.read_text()}")
