"""The data plane: everything that happens to a device's request."""

import os

# `cryptography` loads OpenSSL's legacy provider, and fails without it, unless told not to before its first import.
os.environ["CRYPTOGRAPHY_OPENSSL_NO_LEGACY"] = "1"
