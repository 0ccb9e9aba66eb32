"""What to say to AWS: the parameters of ImportSnapshot and RegisterImage for the raw disk, as the EC2 API has them.

ImportImage is for other people's machines: it changes the guest (agent, network scripts, boot loader), and a verified root does
not start after that. A snapshot is imported as it is.
"""

from typing import Any

ROOT_DEVICE = "/dev/xvda"


def parameters(name: str, version: str, volume_gib: int) -> dict[str, Any]:
    """Two calls in their order; what only the operator knows (bucket, key, snapshot) stands in angle brackets."""
    return {
        "import-snapshot": {
            "Description": f"{name} {version}",
            "DiskContainer": {
                "Description": f"{name} {version}",
                "Format": "RAW",
                "UserBucket": {"S3Bucket": "<bucket>", "S3Key": f"{name}-{version}.raw"},
            },
        },
        "register-image": {
            "Name": f"{name}-{version}",
            "Description": f"{name} {version}",
            "Architecture": "x86_64",
            "VirtualizationType": "hvm",
            "RootDeviceName": ROOT_DEVICE,
            "BlockDeviceMappings": [
                {
                    "DeviceName": ROOT_DEVICE,
                    "Ebs": {
                        "SnapshotId": "<snapshot>",
                        "VolumeSize": volume_gib,
                        "VolumeType": "gp3",
                        "DeleteOnTermination": True,
                    },
                }
            ],
            "EnaSupport": True,
            "SriovNetSupport": "simple",
            "BootMode": "uefi",
            "TpmSupport": "v2.0",
            "ImdsSupport": "v2.0",  # instances ask for a token first, unless somebody says otherwise
        },
    }
