"""What a run was made with: the machine and the versions."""

import os
import platform
import re
import ssl
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from sentry_runtime.gateway import supervisor

_PROGRAMS = {
    "HAProxy": (("haproxy", "-v"), r"version (\S+)"),
    "nginx": (("nginx", "-v"), r"nginx/(\S+)"),
    "wrk": (("wrk", "-v"), r"wrk (\S+)"),
    "h2load": (("h2load", "--version"), r"nghttp2/(\S+)"),
    "FIPS provider": (("openssl", "list", "-providers"), r"FIPS Provider\s+version: (\S+)"),
}
_COMPILED = {True: "compiled by mypyc, as on the appliance", False: "plain Python"}
_PACKAGES = ("uvloop", "httptools", "msgspec", "lmdb")


def describe() -> dict[str, str]:
    """Each fact by its name."""
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    facts = {
        "processor": f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores",
        "memory": f"{int(memory[1]) / 1_048_576:.0f} GiB" if memory else "",
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release()["PRETTY_NAME"],
        "Python": sys.version.split()[0],
        "hot modules": _COMPILED[supervisor.COMPILED],
        "OpenSSL": ssl.OPENSSL_VERSION.split()[1],
    }
    facts |= {name: _version(argv, pattern) for name, (argv, pattern) in _PROGRAMS.items()}
    return facts | {name: _package(name) for name in _PACKAGES}


def _package(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"


def _version(argv: tuple[str, ...], pattern: str) -> str:
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    found = re.search(pattern, ended.stdout + ended.stderr)
    return found[1] if found else "unknown"
