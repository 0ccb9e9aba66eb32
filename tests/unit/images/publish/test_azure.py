"""A VHD becomes a version of a gallery's image, by a disk that is written and goes again: once, and anew when interrupted."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

from images.papers.proof import Proven, proven
from images.publish import azure, azure_errors
from images.publish.azure import AzureError, Place, Publication, Published
from images.publish.disk import verified
from tests.device_pki import DevicePki
from tests.unit.images.publish import built, microsoft
from tests.unit.images.publish.microsoft import GALLERY, GROUP, SIGNATURE, Microsoft

DISK = f"sentry-{built.VERSION}.vhd.zst"
PLACE = Place(GROUP, GALLERY, "sentry", built.VERSION, ("westeurope", "northeurope"))
STAGING = "sentry-1-2-3-upload"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Proven:
    """What a build left, proven."""
    return proven(built.folder(tmp_path_factory.mktemp("built")), None, throw_away=True)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> DevicePki:
    """The server's certificate and its authority."""
    made = DevicePki(tmp_path_factory.mktemp("pki"))
    made.authority("company")
    made.issue("azure", by="company", names="IP:127.0.0.1", usage="serverAuth")
    return made


@pytest.fixture
def cloud(pki: DevicePki) -> Iterator[Microsoft]:
    """A resource group with an empty gallery."""
    with microsoft.running(pki.pair("azure"), pki.path("company")) as made:
        yield made


def published(cloud: Microsoft, files: Proven, place: Place = PLACE, credential: Any = None) -> Published:
    options = {"connection_verify": cloud.trust, "retry_total": 0}
    with azure_errors.told(), verified(files, DISK, azure.PAGES) as disk:
        said: list[str] = []
        made = Publication(cloud.client(credential), said.append, options, sleep=lambda _: None)
        try:
            return made.publish(disk, place)
        finally:
            assert SIGNATURE not in "\n".join(said)


def test_the_version_is_of_the_vhd_and_only_what_is_not_zero_was_sent(cloud: Microsoft, files: Proven) -> None:
    made = published(cloud, files)
    vhd = built.unpacked(files.folder / DISK)
    assert cloud.content == vhd
    ranges = [vhd[at : at + azure.PAGES] for at in range(0, len(vhd), azure.PAGES)]
    assert cloud.written == sum(any(one) for one in ranges) < len(ranges)
    assert made.version.endswith(f"/galleries/{GALLERY}/images/sentry/versions/1.2.3")
    assert made.existed is False


def test_the_staging_disk_is_of_generation_2_and_goes_when_the_version_is_there(
    cloud: Microsoft, files: Proven
) -> None:
    published(cloud, files)
    assert cloud.disks == {}
    changes = [one for one in cloud.asked if not one.startswith("GET")]
    assert changes == [
        "PUT /galleries/gallery/images/sentry",
        f"PUT /disks/{STAGING}",
        f"POST /disks/{STAGING}/beginGetAccess",
        f"POST /disks/{STAGING}/endGetAccess",
        "PUT /galleries/gallery/images/sentry/versions/1.2.3",
        f"DELETE /disks/{STAGING}",
    ]


def test_the_definition_is_for_trusted_launch_machines(cloud: Microsoft, files: Proven) -> None:
    published(cloud, files)
    said = cloud.images["sentry"]["properties"]
    assert (said["osType"], said["osState"], said["hyperVGeneration"], said["architecture"]) == (
        "Linux", "Generalized", "V2", "x64",
    )  # fmt: skip
    assert {one["name"]: one["value"] for one in said["features"]}["SecurityType"] == "TrustedLaunchSupported"


def test_the_version_goes_to_every_region_and_bears_the_digest(cloud: Microsoft, files: Proven) -> None:
    published(cloud, files)
    made = cloud.versions["1.2.3"]
    regions = [one["name"] for one in made["properties"]["publishingProfile"]["targetRegions"]]
    assert regions == ["westeurope", "northeurope"]
    assert made["tags"] == {"sentry-sha256": files.digests[DISK], "sentry-version": "1.2.3"}


def test_again_it_finds_what_is_there_and_sends_nothing(cloud: Microsoft, files: Proven) -> None:
    first = published(cloud, files)
    sent = cloud.written
    assert published(cloud, files) == Published(first.version, existed=True)
    assert cloud.written == sent


def test_what_was_interrupted_while_it_was_sent_leaves_nothing_and_is_made_anew(
    cloud: Microsoft, files: Proven
) -> None:
    cloud.fails_after = 1
    with pytest.raises(AzureError):
        published(cloud, files)
    assert (cloud.disks, cloud.versions) == ({}, {})
    cloud.fails_after = None
    published(cloud, files)
    assert cloud.content == built.unpacked(files.folder / DISK)


def test_the_disk_of_a_run_that_was_killed_is_replaced(cloud: Microsoft, files: Proven) -> None:
    tags = {"sentry-sha256": "0" * 64}
    cloud.disks[STAGING] = {
        "id": "x",
        "location": "westeurope",
        "tags": tags,
        "properties": {"diskState": "ActiveUpload"},
    }
    cloud.pages[STAGING] = bytearray()
    published(cloud, files)
    assert (cloud.disks, cloud.content) == ({}, built.unpacked(files.folder / DISK))


def test_another_ones_disk_of_that_name_is_left_alone(cloud: Microsoft, files: Proven) -> None:
    theirs = {"id": "x", "location": "westeurope", "properties": {"diskState": "Unattached"}}
    cloud.disks[STAGING] = theirs
    with pytest.raises(AzureError, match=f"the disk {STAGING} is none of ours"):
        published(cloud, files)
    assert cloud.disks == {STAGING: theirs}


def test_a_version_that_is_still_being_made_is_waited_for(cloud: Microsoft, files: Proven) -> None:
    published(cloud, files)
    cloud.replicates = ["Creating", "Updating", "Creating", "Succeeded"]
    assert published(cloud, files).existed is True
    assert cloud.replicates == ["Succeeded"]


def test_a_version_that_failed_is_said_to_have_and_is_made_anew(cloud: Microsoft, files: Proven) -> None:
    cloud.replicates = ["Creating", "Failed"]
    with pytest.raises(AzureError, match=r"1\.2\.3: is Failed; run it again"):
        published(cloud, files)
    cloud.replicates = ["Failed", "Creating", "Succeeded"]
    assert published(cloud, files).existed is False
    assert "DELETE /galleries/gallery/images/sentry/versions/1.2.3" in cloud.asked


def test_a_version_that_is_not_made_in_hours_is_not_waited_for_any_more(cloud: Microsoft, files: Proven) -> None:
    cloud.replicates = ["Creating"]
    now = iter(range(0, 1_000_000, 3_600))
    options = {"connection_verify": cloud.trust}
    with verified(files, DISK, azure.PAGES) as disk, pytest.raises(AzureError, match="is Creating; run it again"):
        Publication(
            cloud.client(), lambda _: None, options, clock=lambda: float(next(now)), sleep=lambda _: None
        ).publish(disk, PLACE)


def test_the_name_of_another_version_is_not_taken(cloud: Microsoft, files: Proven) -> None:
    published(cloud, files)
    options = {"connection_verify": cloud.trust}
    with verified(files, DISK, azure.PAGES) as disk, pytest.raises(AzureError, match=r"the version 1\.2\.3 is taken"):
        Publication(cloud.client(), lambda _: None, options).publish(replace(disk, digest="0" * 64), PLACE)


@pytest.mark.parametrize(
    ("change", "said"), [({"hyperVGeneration": "V1"}, "is Linux, V1"), ({"features": []}, "no features")]
)
def test_a_definition_that_is_not_for_this_image_is_refused(
    cloud: Microsoft, files: Proven, change: dict[str, Any], said: str
) -> None:
    published(cloud, files)
    cloud.versions.clear()
    cloud.images["sentry"]["properties"] |= change
    with pytest.raises(AzureError, match=f"{said}.*wanted: Linux, V2, Generalized"):
        published(cloud, files)


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "said"), [("1.2", "three numbers"), ("1.2.3-rc1", "three numbers"), ("1.2.3.4", "three numbers")]
)
def test_a_version_that_a_gallery_does_not_take_is_refused_before_anything(version: str, said: str) -> None:
    with pytest.raises(AzureError, match=said):
        Place(GROUP, GALLERY, "sentry", version, ("westeurope",))


def test_a_gallery_that_is_not_there_is_said_to_be_missing(cloud: Microsoft, files: Proven) -> None:
    cloud.gallery = False
    with pytest.raises(AzureError, match="make the resource group and the gallery in it first"):
        published(cloud, files)
    assert cloud.disks == {}


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        (
            "AuthorizationFailed",
            403,
            r"do not permit it; what is needed stands in images/publish/files/azure-role\.json",
        ),
        ("OperationNotAllowed", 409, "a quota of this subscription is used up"),
        ("LocationNotAvailableForResourceType", 400, "the region is none"),
        ("SomethingElse", 400, "SomethingElse"),
    ],
)
def test_what_azure_refuses_is_said_with_what_to_do(
    cloud: Microsoft, files: Proven, code: str, status: int, said: str
) -> None:
    cloud.refuses["PUT /disks"] = (status, code, "Azure's own words.")
    with pytest.raises(AzureError, match=f"(?s)Azure's own words.*{said}|{said}.*Azure's own words"):
        published(cloud, files)
    assert cloud.written == 0


def test_without_credentials_it_is_said_how_to_give_some(cloud: Microsoft, files: Proven) -> None:
    class Nobody:
        def get_token(self, *scopes: str, **_: object) -> AccessToken:
            raise ClientAuthenticationError(f"no token for {scopes}")

    with pytest.raises(AzureError, match=r"found no credentials that Azure takes; .*az login"):
        published(cloud, files, credential=Nobody())


def test_the_address_that_may_be_written_to_is_in_no_error_and_no_log(
    cloud: Microsoft, files: Proven, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even where the server repeats it."""
    caplog.set_level(logging.INFO)
    cloud.fails_after = 0
    with pytest.raises(AzureError, match=f"{STAGING}: takes no more pages; its address is good for 6 hours") as caught:
        published(cloud, files)
    assert SIGNATURE not in str(caught.value)
    assert SIGNATURE not in caplog.text


def test_what_of_an_address_may_be_written_to_is_taken_out_of_any_error() -> None:
    said = f"Could not parse https://md.blob.example/x?sv=2024&sig={SIGNATURE}&sp=rw"
    with pytest.raises(AzureError, match=r"\?sv=…&sig=…&sp=rw"), azure_errors.told():
        raise HttpResponseError(said)
