"""What a process says of its own cryptography is what its OpenSSL does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sentry_runtime import fips


def test_a_process_without_the_fips_provider_says_what_gives_it_away() -> None:
    """The build machine's own OpenSSL is not held to anything."""
    assert fips.state().startswith(f"{fips.DISABLED} (algorithms need not be approved, MD5 works")


@pytest.mark.parametrize(
    ("signs", "state"),
    [
        ((False, False, False), fips.ENABLED),
        ((False, True, False), f"{fips.DISABLED} (MD5 works)"),
        ((True, True, True), f"{fips.DISABLED} (algorithms need not be approved, MD5 works, ChaCha20 works)"),
    ],
)
def test_one_sign_is_enough(signs: tuple[bool, ...], state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = [words for words, _holds in fips._SIGNS]
    held = tuple((words, lambda answer=answer: answer) for words, answer in zip(said, signs, strict=True))
    monkeypatch.setattr(fips, "_SIGNS", held)
    assert fips.state() == state


def test_with_the_properties_of_openssl_cnf_md5_is_refused(tmp_path: Path) -> None:
    """A process of its own, with the appliance's `default_properties` and no provider that could fulfil them."""
    configuration = tmp_path / "openssl.cnf"
    configuration.write_text(
        "openssl_conf = init\n[init]\nalg_section = algorithms\n[algorithms]\ndefault_properties = fips=yes\n"
    )
    environment = {**os.environ, "OPENSSL_CONF": str(configuration)}
    script = "from sentry_runtime import fips; print(fips._by_default(), fips._md5_works())"
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
