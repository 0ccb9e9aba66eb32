"""Headless Chromium that trusts the appliance's own CA and nothing else."""

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver

from images.lab import cards
from images.paths import Layout
from images.run import run
from tests.lab import Lab

POLICY = Path("/etc/chromium/policies/managed/sentry-tests.json")  # where Debian's Chromium reads policies
_QUIET = (
    "--headless=new", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-sandbox",
)  # fmt: skip
# (No sandbox: Chromium refuses to run as root with one, and the lab needs root.)


@pytest.fixture(scope="session")
def spki(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of the key in the portal's certificate, once OpenSSL has verified it against the appliance's CA: the only
    way to tell Chromium on its command line which certificate to take."""
    folder = tmp_path_factory.mktemp("spki")
    shown = run(
        ["openssl", "s_client", "-connect", lab.portal_url.removeprefix("https://"), "-CAfile", lab.ca_file,
         "-verify_return_error", "-verify_ip", lab.address],
        stdin="",
    )  # fmt: skip
    leaf = folder / "leaf.pem"
    leaf.write_text(shown.stdout, encoding="utf-8")
    run(["openssl", "x509", "-in", leaf, "-noout", "-pubkey", "-out", folder / "key.pem"])
    run(["openssl", "pkey", "-pubin", "-in", folder / "key.pem", "-outform", "DER", "-out", folder / "key.der"])
    return base64.b64encode(hashlib.sha256((folder / "key.der").read_bytes()).digest()).decode()


@pytest.fixture
def browser(spki: str, tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """A fresh browser profile."""
    with chromium(spki, tmp_path) as chrome:
        yield chrome


@contextmanager
def chromium(spki: str, tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """A browser whose profile and home are below `tmp_path`."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for word in (*_QUIET, f"--user-data-dir={tmp_path}/profile", f"--ignore-certificate-errors-spki-list={spki}"):
        options.add_argument(word)
    service = webdriver.ChromeService("/usr/bin/chromedriver", env={**os.environ, "HOME": str(tmp_path)})
    chrome = webdriver.Chrome(options=options, service=service)
    chrome.set_window_size(1280, 900)
    try:
        yield chrome
    finally:
        chrome.quit()


@pytest.fixture
def card_browser(spki: str, lab: Lab, layout: Layout, tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """A fresh browser with the lab administrator's card, which it shows to the portal without asking: in the NSS database that
    Chromium looks into, and by its policy AutoSelectCertificateForUrls."""
    store = tmp_path / ".pki/nssdb"
    store.mkdir(parents=True)
    database = f"sql:{store}"
    card, packed = layout.lab / cards.CARD, tmp_path / "card.p12"
    run(
        [
            "openssl",
            "pkcs12",
            "-export",
            "-in",
            f"{card}.pem",
            "-inkey",
            f"{card}.key",
            "-out",
            packed,
            "-passout",
            "pass:",
        ]
    )
    run(["certutil", "-N", "-d", database, "--empty-password"])
    run(["certutil", "-A", "-d", database, "-n", "authority", "-t", "T,,", "-i", layout.lab / f"{cards.AUTHORITY}.pem"])
    run(["pk12util", "-i", packed, "-d", database, "-W", "", "-K", ""])
    filters = [json.dumps({"pattern": lab.portal_url, "filter": {"ISSUER": {"CN": "Lab card CA"}}})]
    POLICY.parent.mkdir(parents=True, exist_ok=True)
    POLICY.write_text(json.dumps({"AutoSelectCertificateForUrls": filters}), encoding="utf-8")
    try:
        with chromium(spki, tmp_path) as chrome:
            yield chrome
    finally:
        POLICY.unlink()


@pytest.fixture(scope="session")
def screenshots(layout: Layout) -> Path:
    """Where pictures of the pages are left to be looked at; `docs/pictures` has four of them."""
    folder = layout.build / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
