"""What `publish` was asked for: the options of its command line, and where credentials are looked for."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from azure.core import AzureClouds
from azure.identity import AzureAuthorityHosts, DefaultAzureCredential
from azure.mgmt.compute import ComputeManagementClient
from botocore.config import Config
from botocore.session import Session

from images.papers.proof import Proven, proven
from images.publish import aws, aws_errors, azure, azure_errors
from images.publish.disk import packed, verified
from images.publish.sending import WORKERS

Tell = Callable[[str], None]
CLOUDS = {
    "public": (AzureClouds.AZURE_PUBLIC_CLOUD, AzureAuthorityHosts.AZURE_PUBLIC_CLOUD),
    "us-government": (AzureClouds.AZURE_US_GOVERNMENT, AzureAuthorityHosts.AZURE_GOVERNMENT),
    "china": (AzureClouds.AZURE_CHINA_CLOUD, AzureAuthorityHosts.AZURE_CHINA),
}
ATTEMPTS = 10  # of a request that is throttled or lost on the way, unless the tools' settings say otherwise


def options(parser: argparse.ArgumentParser, folder: Path) -> None:
    """Add the words of `publish`; none of them is a secret."""
    clouds = parser.add_subparsers(dest="cloud", required=True, metavar="aws|azure")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--folder", type=Path, default=folder, help="what a build has left (default: %(default)s)")
    signed = common.add_mutually_exclusive_group(required=True)
    signed.add_argument("--public-key", type=Path, help="the public half (PEM) of the key that signed SHA256SUMS")
    signed.add_argument(
        "--throw-away-key",
        action="store_true",
        help="believe the build's throw-away key, which shows nothing of who built it",
    )

    amazon = clouds.add_parser("aws", parents=[common], help="an AMI, by way of an EBS snapshot")
    amazon.add_argument("--region", help="as eu-central-1 (default: the profile's)")
    amazon.add_argument("--profile", help="of ~/.aws/config, with the credentials")
    amazon.add_argument("--encrypt", action="store_true", help="encrypt the snapshot")
    amazon.add_argument("--kms-key", metavar="ARN", help="by this key (default: the account's)")
    amazon.set_defaults(publish=to_aws)

    microsoft = clouds.add_parser("azure", parents=[common], help="a version of an image in a compute gallery")
    microsoft.add_argument("--subscription", required=True, help="its id")
    microsoft.add_argument("--resource-group", required=True, help="with the gallery, and for the disk that is written")
    microsoft.add_argument("--gallery", required=True)
    microsoft.add_argument("--image", default="sentry", help="the image definition (default: %(default)s)")
    microsoft.add_argument("--gallery-version", help="three numbers, as 1.2.3 (default: the build's version)")
    microsoft.add_argument(
        "--region", required=True, help="as westeurope, or several with commas; the first takes the upload"
    )
    microsoft.add_argument("--azure-cloud", choices=CLOUDS, default="public")
    microsoft.set_defaults(publish=to_azure)


def to_aws(given: argparse.Namespace, tell: Tell) -> dict[str, Any]:
    """Publish to AWS; what there is then. Raises the parts' errors."""
    files = _proven(given)
    with aws_errors.told(given.region or "aws"):
        settings = Session(profile=given.profile)
        session = boto3.Session(botocore_session=settings, region_name=given.region)
        if session.region_name is None:
            raise aws.AwsError("found no region; say --region, as eu-central-1")
        attempts = settings.get_config_variable("max_attempts") or ATTEMPTS
        often = Config(retries={"total_max_attempts": attempts, "mode": "standard"}, max_pool_connections=WORKERS)
        clients = {name: session.client(name, config=often) for name in ("ec2", "ebs")}
        encryption = aws.Encryption(given.encrypt or given.kms_key is not None, given.kms_key)
        wanted = aws.parameters(files, packed(given.folder, "aws.json"))
        with verified(files, packed(given.folder, "raw.zst"), aws.BLOCK) as disk:
            tell(f"{disk.name}: verified, {disk.digest}")
            made = aws.Publication(clients, tell).publish(disk, wanted, encryption)
    return {"image": made.image, "snapshot": made.snapshot, "region": made.region, "existed": made.existed}


def to_azure(given: argparse.Namespace, tell: Tell) -> dict[str, Any]:
    """Publish to Azure; what there is then. Raises the parts' errors."""
    files = _proven(given)
    cloud, authority = CLOUDS[given.azure_cloud]
    name = packed(given.folder, "vhd.zst")
    version = given.gallery_version or name.removeprefix("sentry-").removesuffix(".vhd.zst")
    place = azure.Place(
        given.resource_group, given.gallery, given.image, version, tuple(filter(None, given.region.split(",")))
    )
    with azure_errors.told():
        credential = DefaultAzureCredential(authority=authority)
        client = ComputeManagementClient(credential, given.subscription, cloud_setting=cloud)
        with client, verified(files, name, azure.PAGES) as disk:
            tell(f"{disk.name}: verified, {disk.digest}")
            made = azure.Publication(client, tell).publish(disk, place)
    return {"version": made.version, "regions": list(place.regions), "existed": made.existed}


def _proven(given: argparse.Namespace) -> Proven:
    return proven(given.folder, given.public_key, throw_away=given.throw_away_key)
