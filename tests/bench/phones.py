"""The devices of the bench: who they are, and what they send."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass

from tests.bench.pki import HOST

BODY_BYTES = 200  # of an ordinary request
ANSWER_BYTES = 70  # of its answer
PASSWORD = "bench-pa55word"


@dataclass(frozen=True, slots=True)
class Phone:
    """One device and its user; `version` of the protocol says in which way it is refused (before 14.0: 403)."""

    device: str
    user: str
    version: str = "14.1"

    @property
    def entry(self) -> str:
        """The key by which the peers know it: what the gateway's list has as two fields."""
        return f"{self.device}|{self.user}"

    @property
    def authorization(self) -> str:
        return "Basic " + base64.b64encode(f"{self.user}:{PASSWORD}".encode()).decode()

    def path(self, command: str) -> str:
        """The target of a request."""
        return f"/Microsoft-Server-ActiveSync?Cmd={command}&User={self.user}&DeviceId={self.device}&DeviceType=iPhone"

    def headers(self) -> dict[str, str]:
        """The fields of a request, but for the length of its body."""
        return {
            "Host": HOST,
            "User-Agent": "Apple-iPhone10C1/1501.100",
            "MS-ASProtocolVersion": self.version,
            "Content-Type": "application/vnd.ms-sync.wbxml",
            "Authorization": self.authorization,
        }

    def head(self, command: str, length: int) -> bytes:
        """A request's head, for a body of this length."""
        fields = self.headers() | {"Content-Length": str(length)}
        lines = [f"POST {self.path(command)} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


OLD = (
    "12.1"  # the last version whose refusals are HTTP errors, as the peers' are; later ones get 200 with a WBXML status
)


def known(number: int) -> Phone:
    """One that is known, and allowed."""
    return Phone(f"KNOWN{number:07}", f"user{number:07}@lab.test")


def blocked(number: int) -> Phone:
    """One that is refused: the gateway knows it as blocked, the peers do not know it."""
    return Phone(f"BLOCKED{number:07}", f"blocked{number:07}@lab.test", OLD)


def stranger(number: int) -> Phone:
    """One that nobody has seen yet."""
    return Phone(f"STRANGER{number:07}", f"stranger{number:07}@lab.test")


def all_known(count: int) -> Iterator[Phone]:
    """The known ones."""
    return map(known, range(count))


def answer(length: int = ANSWER_BYTES) -> bytes:
    """A body of this many bytes that a Sync response could have: a WBXML document (MS-ASWBXML) of one long Status."""
    begin, end = b"\x03\x01\x6a\x00\x45\x4e\x03", b"\x00\x01\x01"
    return begin + b"1" * (length - len(begin) - len(end)) + end if length >= len(begin + end) else b"1" * length
