"""Signatures of requests to S3, beside botocore's own."""

from datetime import UTC, datetime

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from appliance.offsite import signing

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
KEY = signing.AccessKey(key_id="AKIAIOSFODNN7EXAMPLE", secret=SECRET, region="us-east-1")
WHEN = datetime(2013, 5, 24, 0, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize("name", ["gw1/20260131T180000Z-7.backup", "a b/c+d=e~f", "ünï/%41", "plain"])
@pytest.mark.parametrize("host", ["s3.example.test", "127.0.0.1:8443"])
def test_a_signature_is_the_one_that_botocore_makes(name: str, host: str) -> None:
    body = b"sealed" * 100
    path = signing.encoded(f"/backups/{name}")
    ours = signing.headers("PUT", host, path, body, KEY, WHEN)
    asked = AWSRequest("PUT", f"https://{host}{path}", data=body)
    asked.headers["X-Amz-Date"] = asked.context["timestamp"] = ours["x-amz-date"]
    asked.headers["X-Amz-Content-SHA256"] = ours["x-amz-content-sha256"]
    theirs = S3SigV4Auth(Credentials(KEY.key_id, SECRET), "s3", KEY.region)
    canonical = theirs.canonical_request(asked)
    expected = theirs.signature(theirs.string_to_sign(asked, canonical), asked)
    assert canonical.split("\n")[1] == path
    assert ours["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        f"SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={expected}"
    )


def test_it_changes_with_everything_that_is_signed() -> None:
    def signature(**change: object) -> str:
        said = {"method": "PUT", "host": "s3.test", "path": "/b/k", "body": b"x", "key": KEY, "when": WHEN, **change}
        return signing.headers(**said)["authorization"]  # type: ignore[arg-type]

    other = signing.AccessKey(key_id=KEY.key_id, secret="another-secret", region=KEY.region)
    changes = ({"method": "GET"}, {"host": "s3.other"}, {"path": "/b/l"}, {"body": b"y"}, {"key": other})
    made = {
        signature(),
        *(signature(**one) for one in changes),
        signature(when=datetime(2013, 5, 24, 0, 0, 1, tzinfo=UTC)),
    }
    assert len(made) == len(changes) + 2


def test_no_secret_is_in_what_is_printed_of_a_key() -> None:
    assert SECRET not in repr(KEY)
