"""The management plane: configuration model, rendering, configd, CLI and portal."""

import os

__version__ = "0.1.0"

# `cryptography` loads OpenSSL's legacy provider, and fails without it, unless told not to before its first import.
os.environ["CRYPTOGRAPHY_OPENSSL_NO_LEGACY"] = "1"
