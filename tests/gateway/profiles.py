"""How the servers that companies use answer, as far as it matters to a gateway: in our own words and by no capture.

Exchange's and Office 365's ways follow MS-ASHTTP and what is generally known of them, Traveler's and Gmail's what is
generally known alone; nobody's server was asked. What counts is that these ways differ in every respect in which a gateway
could go wrong.
"""

from dataclasses import dataclass

from tests.gateway.stand import Script, Turn, basic

COMMANDS = (
    "Sync,SendMail,SmartForward,SmartReply,GetAttachment,FolderSync,FolderCreate,FolderDelete,FolderUpdate,MoveItems,"
    "GetItemEstimate,MeetingResponse,Search,Settings,Ping,ItemOperations,ResolveRecipients,ValidateCert,Provision"
)


@dataclass(frozen=True)
class Trouble:
    """A refusal of a server's own: its status line's end, its fields, and those that the device must still see."""

    status: str
    fields: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    body: bytes = b""

    @property
    def code(self) -> int:
        return int(self.status[:3])


@dataclass(frozen=True)
class Profile:
    """One kind of server.

    `challenges` to who gives no or wrong credentials; the `versions` it names, and of these what a device may be `offered`;
    fields it sends with everything; whether it sends devices on by 451 or by an ordinary redirection (`moves`), and how it
    frames a body.
    """

    name: str
    challenges: tuple[str, ...]
    versions: str
    offered: str
    fields: tuple[str, ...]
    moves: str
    framing: str
    troubles: tuple[Trouble, ...]
    commands: str = COMMANDS

    def script(self, *, moved_to: str = "", trouble: Trouble | None = None, body: bytes = b"") -> Script:
        """The server's side: who it lets in, and what it says to them."""

        async def answer(turn: Turn) -> None:
            await turn.body()
            if turn.seen.values("Authorization") != [basic()]:
                await self._say(turn, "401 Unauthorized", *(f"WWW-Authenticate: {one}" for one in self.challenges))
            elif moved_to and self.moves == "451":
                await self._say(turn, "451 Redirect", f"X-MS-Location: {moved_to}")
            elif moved_to:
                await self._say(turn, self.moves, f"Location: {moved_to}")
            elif turn.seen.method == "OPTIONS":
                offer = (f"MS-ASProtocolVersions: {self.versions}", f"MS-ASProtocolCommands: {self.commands}")
                await self._say(turn, "200 OK", "Public: OPTIONS,POST", "Allow: OPTIONS,POST", *offer)
            elif trouble is not None:
                await self._say(turn, trouble.status, *trouble.fields, body=trouble.body)
            else:
                await self._say(turn, "200 OK", "Content-Type: application/vnd.ms-sync.wbxml", body=body)

        return answer

    async def _say(self, turn: Turn, status: str, *fields: str, body: bytes = b"") -> None:
        framed, framing = body, (f"Content-Length: {len(body)}",)
        if self.framing == "chunked" and body:
            framed, framing = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body), ("Transfer-Encoding: chunked",)
        head = "\r\n".join((f"HTTP/1.1 {status}", *self.fields, *fields, *framing, "", ""))
        await turn.say(head.encode() + framed)


NOT_ENABLED = Trouble("403 Forbidden", body=b"<html>403</html>")
PROVISION = Trouble("449 Retry after sending a PROVISION command")
FULL = Trouble("507 Insufficient Storage")
THROTTLED = Trouble(
    "503 Service Unavailable",
    ("Retry-After: 120", "X-MS-ASThrottle: RecentCommands"),
    ("retry-after", "x-ms-asthrottle"),
)

EXCHANGE = Profile(
    name="Exchange",
    challenges=("Negotiate", "NTLM", 'Basic realm="mail.lab.test"'),
    versions="2.0,2.1,2.5,12.0,12.1,14.0,14.1,16.0,16.1",
    offered="2.5,12.0,12.1,14.0,14.1,16.0,16.1",
    fields=(
        "Server: Microsoft-IIS/10.0",
        "MS-Server-ActiveSync: 15.1",
        "X-FEServer: EX01",
        "X-BEServer: EX02",
        "X-CalculatedBETarget: ex02.lab.test",
        "Set-Cookie: X-BackEndCookie=S-1-5-21=abc; path=/Microsoft-Server-ActiveSync; secure; HttpOnly",
        "X-Powered-By: ASP.NET",
    ),
    moves="451",
    framing="length",
    troubles=(NOT_ENABLED, PROVISION, FULL, THROTTLED, Trouble("500 Internal Server Error")),
    commands=COMMANDS.replace("GetAttachment,", "GetAttachment,GetHierarchy,CreateCollection,") + ",Find",
)
OFFICE_365 = Profile(
    name="Office 365",
    challenges=(
        'Basic Realm=""',
        'Bearer client_id="00000002-0000-0ff1-ce00-000000000000", token_types="app_asserted_user_v1", '
        'authorization_uri="https://login.lab.test/common/oauth2/authorize"',
    ),
    versions="2.0,2.1,2.5,12.0,12.1,14.0,14.1,16.0,16.1",
    offered="2.5,12.0,12.1,14.0,14.1,16.0,16.1",
    fields=(
        "MS-Server-ActiveSync: 15.20",
        "request-id: 11111111-2222-3333-4444-555555555555",
        'Alt-Svc: h3=":443"; ma=2592000',
        "X-FEEFZInfo: AMS",
        "Strict-Transport-Security: max-age=31536000; includeSubDomains",
        "Set-Cookie: ClientId=ABC; expires=Wed, 21 Oct 2026 07:28:00 GMT; path=/; secure",
    ),
    moves="451",
    framing="chunked",
    troubles=(
        Trouble("456 Blocked"),
        Trouble(
            "457 Password expired",
            ("X-MS-Credential-Service-Url: https://portal.lab.test/ChangePassword.aspx",),
            ("x-ms-credential-service-url",),
        ),
        NOT_ENABLED,
        THROTTLED,
    ),
)
TRAVELER = Profile(
    name="Traveler",
    challenges=('Basic realm="Traveler"',),
    versions="2.5,12.0,12.1,14.0,14.1,16.0,16.1",
    offered="2.5,12.0,12.1,14.0,14.1,16.0,16.1",
    fields=("Server: Lotus-Domino", "MS-Server-ActiveSync: 8.1", "Pragma: no-cache", "Cache-Control: no-cache"),
    moves="302 Found",
    framing="chunked",
    troubles=(NOT_ENABLED, Trouble("503 Service Unavailable", ("Retry-After: 300",), ("retry-after",))),
    commands=COMMANDS.replace(",ValidateCert", ""),
)
GMAIL = Profile(
    name="Gmail",
    challenges=('BASIC realm="Google"',),
    versions="2.0, 2.5, 12.0, 12.1",
    offered="2.5,12.0,12.1",
    fields=(
        "Server: GSE",
        "MS-Server-ActiveSync: 8.1",
        "X-Content-Type-Options: nosniff",
        "X-Frame-Options: SAMEORIGIN",
    ),
    moves="302 Moved Temporarily",
    framing="chunked",
    troubles=(Trouble("403 Forbidden", ("Content-Type: text/html",), ("content-type",), b"<html>x</html>"),),
    commands="Sync,SendMail,SmartForward,SmartReply,FolderSync,MoveItems,GetItemEstimate,MeetingResponse,Search,Ping",
)
PROFILES = (EXCHANGE, OFFICE_365, TRAVELER, GMAIL)
