"""What strangers' bytes reach first, as functions of bytes: each takes anything, and fails only where the gateway is wrong.

A parser may refuse with its own error, and with no other. What it takes must hold what the rest of the gateway relies on:
a head written anew is read in one way only, a query with another key still names the same device, a document that was read
is written the same. Where a second, plainer reading is possible, both must say the same.
"""

from tests.fuzz.rooms import backends, certificates, credentials, disks, documents, messages, policies, requests
from tests.fuzz.target import Target

TARGETS: dict[str, Target] = {
    **requests.TARGETS,
    **credentials.TARGETS,
    **documents.TARGETS,
    **policies.TARGETS,
    **certificates.TARGETS,
    **backends.TARGETS,
    **messages.TARGETS,
    **disks.TARGETS,
}
