"""A client of somebody else's is wiped."""

import asyncio

import pytest
import requests
from pyactivesync import Client
from pyactivesync._wbxml import WBXMLReader, WBXMLWriter, find, text_of, wtag

from sentry_runtime.devices.record import WipeMark
from tests.gateway.stand import PHONE, Stand
from tests.gateway.test_provisioning import strict_client
from tests.gateway.wipe.asking import HANDED_OUT, UNVERIFIED, VERIFIED, marked


def acknowledge(client: Client, status: str) -> bytes:
    """An acknowledgement by the client's own codec."""
    writer = WBXMLWriter()
    directive = wtag("Provision", "RemoteWipe", children=[wtag("Provision", "Status", text=status)])
    writer.tag("Provision", "Provision", children=[directive])
    answer: bytes = client._transport.post("Provision", PHONE.principal, writer.render())
    return answer


async def test_pyactivesync_reads_the_directive_and_is_believed(stand: Stand) -> None:
    """With its own codec; and its ordinary way, which knows of no wipe, leads to no mail."""
    await stand.agent.order_wipe(PHONE)
    with strict_client(stand) as client:
        with pytest.raises(requests.HTTPError, match="449"):
            await asyncio.to_thread(client.list_folders)
        writer = WBXMLWriter()
        writer.tag("Provision", "Provision", children=[])
        answer = await asyncio.to_thread(client._transport.post, "Provision", PHONE.principal, writer.render())
        nodes = WBXMLReader(answer).parse()
        assert text_of(find(nodes, "Provision.Status")) == "1"
        assert find(nodes, "Provision.RemoteWipe") is not None
        failed = WBXMLReader(await asyncio.to_thread(acknowledge, client, "2")).parse()
        assert (text_of(find(failed, "Provision.Status")), find(failed, "Provision.RemoteWipe") is None) == ("2", False)
        done = WBXMLReader(await asyncio.to_thread(acknowledge, client, "1")).parse()
        assert (text_of(find(done, "Provision.Status")), find(done, "Provision.RemoteWipe")) == ("1", None)
    await marked(stand, HANDED_OUT, WipeMark.FAILED, UNVERIFIED, VERIFIED)
    assert stand.backend.seen == []
