"""Devices' certificates: reading them, whose they are, and whether they have been revoked. Bytes to values, no input or output.

X.509 is read by the library `cryptography`, which on the appliance is Debian's and does all its cryptography by the
system's one OpenSSL. It asks for OpenSSL's legacy provider unless told not to; nothing legacy is wanted here.
"""

import os

os.environ["CRYPTOGRAPHY_OPENSSL_NO_LEGACY"] = "1"
