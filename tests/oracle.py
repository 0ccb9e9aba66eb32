"""An independent WBXML codec: libwbxml's command-line tools (Debian: libwbxml2-utils), whose table is of 14.1.

Where they are missing the tests that ask them fail, as those do that need HAProxy: `.ci/setup tests` installs both.
"""

import subprocess

HEADER = bytes.fromhex("03016a00")


def to_xml(document: bytes) -> str:
    """The document as XML, with the names of MS-ASWBXML and every space as it is."""
    return _run("wbxml2xml", "-l", "ACTIVESYNC", "-m", "0", "-k", data=document).decode()


def to_wbxml(text: str) -> bytes:
    """The same the other way; with the header that ActiveSync's clients and servers write."""
    made = _run("xml2wbxml", "-k", "-n", "-a", "-v", "1.3", data=text.encode())
    assert made[:1] + made[2:4] == HEADER[:1] + HEADER[2:], made[:4].hex(" ")
    return HEADER + made[4:]  # the second byte says which document type it is; ActiveSync's is none


def _run(tool: str, *options: str, data: bytes) -> bytes:
    done = subprocess.run([tool, *options, "-o", "-", "-"], input=data, capture_output=True, check=True)
    return done.stdout
