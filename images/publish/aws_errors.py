"""What AWS refuses, in the operator's words: which of his things it was, and where the answer stands."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore import exceptions

from images.publish.aws import AwsError

POLICY = "images/publish/files/aws-policy.json"
_CREDENTIALS = "give others as the AWS tools take them: a profile, variables of the environment, or the machine's role"
_HINTS = {
    f"these credentials are not taken; {_CREDENTIALS}": (
        "AuthFailure", "ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "InvalidSignatureException",
        "RequestExpired", "SignatureDoesNotMatch", "UnrecognizedClientException",
    ),
    f"these credentials do not permit it; what is needed stands in {POLICY}": (
        "AccessDenied", "AccessDeniedException", "UnauthorizedOperation",
    ),
    "a quota of this account is used up; delete snapshots or images, or have it raised": (
        "ConcurrentSnapshotLimitExceeded", "PendingSnapshotLimitExceeded", "ResourceLimitExceeded",
        "ServiceQuotaExceededException", "SnapshotLimitExceeded",
    ),
    "the account has not enabled this region": ("OptInRequired", "InvalidRegion"),
}  # fmt: skip
HINTS = {code: hint for hint, codes in _HINTS.items() for code in codes}


@contextmanager
def told(region: str) -> Iterator[None]:
    """Inside, botocore's errors become an `AwsError` that says what to do."""
    try:
        yield
    except exceptions.ClientError as error:
        said = error.response["Error"]
        hint = HINTS.get(said["Code"], "")
        found = f"{region}: {error.operation_name}: {said['Code']}: {said.get('Message', '')}"
        raise AwsError(f"{found}\n  {hint}" if hint else found) from error
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.ProfileNotFound) as error:
        raise AwsError(f"found no credentials for AWS ({error}); {_CREDENTIALS}") from error
    except exceptions.EndpointConnectionError as error:
        raise AwsError(f"{region}: is no region of AWS, or cannot be reached from here ({error})") from error
    except (exceptions.BotoCoreError, exceptions.HTTPClientError) as error:
        raise AwsError(f"{region}: {error}") from error
