"""One backup to a bucket: a PUT of the whole file, its digest signed, over TLS that is checked strictly."""

from datetime import datetime
from urllib.parse import urlsplit

import aiohttp
import yarl

from appliance.client_tls import client_context
from appliance.offsite.failing import SendError
from appliance.offsite.settings import S3
from appliance.offsite.signing import AccessKey, encoded, headers

ATTEMPT_SECONDS = 60.0  # 1 MiB at 20 KB/s
ANSWER_BYTES = 4_096  # of an error's body, of which one word is read


def target(settings: S3, name: str) -> tuple[str, str]:
    """The host as it is written in a request, and the path of the file, encoded (path-style, which every S3 server has)."""
    parts = urlsplit(settings.endpoint)
    path = f"{parts.path.rstrip('/')}/{settings.bucket}/{settings.prefix}{name}"
    return parts.netloc.lower().removesuffix(":443"), encoded(path)


async def send(settings: S3, secret: str, name: str, file: bytes, now: datetime) -> None:
    """Have `file` lie in the bucket; `secret` is that of the access key. Raises `SendError`."""
    key = AccessKey(key_id=settings.access_key_id, secret=secret, region=settings.region)
    host, path = target(settings, name)
    url = yarl.URL(f"https://{host}{path}", encoded=True)
    signed = headers("PUT", host, path, file, key, now)
    connector = aiohttp.TCPConnector(ssl=client_context(settings, SendError))
    timeout = aiohttp.ClientTimeout(total=ATTEMPT_SECONDS)
    try:
        # Nothing of the environment and no redirection: the request is signed for this server alone.
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session,
            session.put(url, data=file, headers=signed, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise SendError(f"the server answered {answer.status} {_code(await answer.content.read(ANSWER_BYTES))}")
    except TimeoutError as error:
        raise SendError(f"not sent within {ATTEMPT_SECONDS:.0f} seconds") from error
    except aiohttp.ClientError as error:
        raise SendError(f"{host}: {error}") from error


def _code(body: bytes) -> str:
    """The error's code (S3 API Reference, "Error responses"), without an XML parser for a stranger's bytes."""
    text = body.decode("utf-8", "replace")
    code = text.partition("<Code>")[2].partition("</Code>")[0]
    return code if code.isascii() and code.isalnum() and len(code) <= 64 else ""
