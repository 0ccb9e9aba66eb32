"""What Azure refuses, in the operator's words: which of his things it was, and where the answer stands."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from azure.core.exceptions import AzureError as SdkError
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)

from images.publish.azure import AzureError

ROLE = "images/publish/files/azure-role.json"
_CREDENTIALS = (
    "give them as the Azure tools take them: `az login`, variables of the environment, or the machine's identity"
)
_HINTS = {
    f"these credentials do not permit it; what is needed stands in {ROLE}": (
        "AuthorizationFailed", "LinkedAuthorizationFailed", "LinkedAccessCheckFailed",
    ),
    "a quota of this subscription is used up; delete disks or images, or have it raised": (
        "OperationNotAllowed", "QuotaExceeded", "ResourceQuotaExceeded", "TooManyRequests",
    ),
    "the region is none, or has no such thing": (
        "InvalidLocation", "LocationNotAvailableForResourceGroup", "LocationNotAvailableForResourceType",
        "NoRegisteredProviderFound",
    ),
    "make the resource group and the gallery in it first": (
        "ParentResourceNotFound", "ResourceGroupNotFound", "ResourceNotFound",
    ),
    "these credentials know of no such subscription": ("InvalidSubscriptionId", "SubscriptionNotFound"),
}  # fmt: skip
HINTS = {code: hint for hint, codes in _HINTS.items() for code in codes}
_SECRET = re.compile(r"\b(sig|sv|se|skoid|sktid)=[^&\s\"']+")  # of an address that may be written to


@contextmanager
def told() -> Iterator[None]:
    """Inside, the SDK's errors become an `AzureError` that says what to do, and has no address in it that may be written to."""
    try:
        yield
    except ClientAuthenticationError as error:
        raise AzureError(f"found no credentials that Azure takes; {_CREDENTIALS}\n  {_plain(error)}") from error
    except HttpResponseError as error:
        code = str(getattr(error.error, "code", None) or getattr(error, "error_code", None) or error.status_code)
        hint = HINTS.get(code, "")
        raise AzureError(_plain(error) + (f"\n  {hint}" if hint else "")) from error
    except (ServiceRequestError, ServiceResponseError) as error:
        raise AzureError(f"Azure cannot be reached from here: {_plain(error)}") from error
    except SdkError as error:
        raise AzureError(_plain(error)) from error


def _plain(error: SdkError) -> str:
    return _SECRET.sub(r"\1=…", str(error.message).strip())
