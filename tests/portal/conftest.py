"""Headless Chromium that trusts the appliance's own CA and nothing else."""

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from images.paths import Layout
from images.run import run
from tests.lab import Lab

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
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for word in (*_QUIET, f"--user-data-dir={tmp_path}/profile", f"--ignore-certificate-errors-spki-list={spki}"):
        options.add_argument(word)
    chrome = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    chrome.set_window_size(1280, 900)
    yield chrome
    chrome.quit()


@pytest.fixture(scope="session")
def screenshots(layout: Layout) -> Path:
    """Where pictures of the pages are left to be looked at."""
    folder = layout.build / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
