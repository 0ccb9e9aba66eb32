"""What the log-in page offers: the password, the certificate, or both."""

import pytest

from appliance.portal.pages import Pages

TOKEN = "t" * 43


@pytest.mark.parametrize(("mode", "certificate", "password"), [("off", 0, 1), ("optional", 1, 1), ("required", 1, 0)])
def test_it_offers_what_is_taken_after_the_banner(mode: str, certificate: int, password: int) -> None:
    text = Pages("Read this.", certificate_login=mode).login(TOKEN).text
    assert text is not None
    assert (text.count('action="/login/certificate"'), text.count('name="password"')) == (certificate, password)
    assert text.count(f'value="{TOKEN}"') == certificate + password
    assert text.index("Read this.") < text.index("<button")
    assert ("by certificate only" in text) == (mode == "required")
