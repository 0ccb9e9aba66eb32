"""The link to a vendor's UEM from the settings."""

import time
from pathlib import Path

from sentry_runtime.eas.principal import Names
from sentry_runtime.settings import Epmm as EpmmSettings
from sentry_runtime.settings import Intune as IntuneSettings
from sentry_runtime.settings import SettingsError, UemLink
from sentry_runtime.tls import client_context
from sentry_runtime.uem.adapters.client import Client
from sentry_runtime.uem.adapters.epmm import Epmm
from sentry_runtime.uem.adapters.intune import Intune
from sentry_runtime.uem.adapters.link import AdapterLink, Listed
from sentry_runtime.uem.adapters.pace import Pace
from sentry_runtime.uem.adapters.token import Tokens

SECRET_BYTES = 4_096  # a client's secret has 40 characters


def link(uem: UemLink, listed: Listed, names: Names) -> AdapterLink:
    """The link that these settings say; it dials only when it is entered. Raises `SettingsError`."""
    rules = uem.adapter
    if rules is None:
        raise SettingsError(f"mode {uem.mode} has no adapter")
    source = _epmm(uem, rules, names) if isinstance(rules, EpmmSettings) else _intune(uem, rules, names)
    return AdapterLink(
        source,
        listed,
        block_unregistered=rules.block_unregistered,
        contact_seconds=uem.timeout_seconds,
        now=time.time,
    )


def _epmm(uem: UemLink, rules: EpmmSettings, names: Names) -> Epmm:
    return Epmm(_client(uem, uem.url), rules, secret(rules.password), names, now=time.time)


def _intune(uem: UemLink, rules: IntuneSettings, names: Names) -> Intune:
    client, login = _client(uem, uem.url), _client(uem, rules.login_url)
    scope = f"{client.base.origin()}/.default"
    tokens = Tokens(login, rules.tenant, rules.client, secret(rules.secret), scope, time.monotonic)
    return Intune(client, tokens, login, rules, names, now=time.time, contact_seconds=uem.timeout_seconds)


def _client(uem: UemLink, url: str) -> Client:
    """One that asks there; what is asked is asked with a secret."""
    if not url.startswith("https://"):
        raise SettingsError(f"a vendor's UEM is asked by https, found {url[:64]!r}")
    return Client(url, client_context(uem.tls), Pace(time.monotonic))


def secret(path: str) -> str:
    """The one line in this file. Raises `SettingsError`, which does not show it."""
    try:
        with Path(path).open("rb") as file:
            data = file.read(SECRET_BYTES + 1)
        text = data.decode().strip("\r\n")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise SettingsError(f"{path}: UTF-8 is wanted") from None
    if not text or len(data) > SECRET_BYTES or not text.isprintable():
        raise SettingsError(f"{path}: one line of 1 to {SECRET_BYTES} bytes is wanted")
    return text
