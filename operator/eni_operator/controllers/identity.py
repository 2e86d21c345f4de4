"""Which EC2 instance a node is: from Node.spec.providerID, or from the instance metadata service.

The metadata client speaks IMDSv2 only: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
"""

import re
from typing import Final

import aiohttp

from eni_operator.controllers.kube import KubeObject
from eni_operator.domain.eni import InstanceId

TIMEOUT_SECONDS: Final = 5
_TTL: Final = "X-aws-ec2-metadata-token-ttl-seconds"
_TOKEN: Final = "X-aws-ec2-metadata-token"  # noqa: S105 - a header's name
_PROVIDER_ID: Final = re.compile(r"^aws://(?:/[^/]*)?/(i-[0-9a-f]+)$")


class MetadataError(Exception):
    """The metadata service did not answer or does not know."""


def instance_of(node: KubeObject) -> InstanceId | None:
    """Returns the instance a Node names: ``aws:///eu-west-1a/i-0123456789abcdef0``; None where it names none."""
    found = _PROVIDER_ID.match(node.get("spec", {}).get("providerID", ""))
    return InstanceId(found.group(1)) if found else None


class Metadata:
    """The metadata service of the instance this process runs on."""

    def __init__(self, endpoint: str) -> None:
        self._latest = f"{endpoint.rstrip('/')}/latest"

    async def instance_id(self) -> InstanceId:
        """Returns the instance this process runs on."""
        return InstanceId(await self._get("instance-id"))

    async def region(self) -> str:
        """Returns the Region this process runs in."""
        return await self._get("placement/region")

    async def _get(self, path: str) -> str:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        try:
            async with aiohttp.ClientSession(timeout=timeout, raise_for_status=True) as session:
                async with session.put(f"{self._latest}/api/token", headers={_TTL: "60"}) as reply:
                    token = await reply.text()
                async with session.get(f"{self._latest}/meta-data/{path}", headers={_TOKEN: token}) as reply:
                    return (await reply.text()).strip()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise MetadataError(f"the metadata service did not tell {path}: {error!r}") from error
