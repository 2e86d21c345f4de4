"""The instance metadata service of the instance this process runs on, version 2 only.

Asks and parses; what is told there is a hint, for it lags behind EC2 and may regress (``inventory.hints`` and
``inventory.metadata_source`` decide what to make of it). The answer is hostile until parsed: anything that is not what
the item should be is a ``MetadataError``.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
"""

import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import Final, TypeVar

import aiohttp

from eni_operator.domain.eni import EniId, InstanceId, SecurityGroupId, SubnetId

TIMEOUT_SECONDS: Final = 5
LARGEST_ITEM: Final = 65536
"""Bytes of an answer that are read; 50 addresses take 800."""
_TTL: Final = "X-aws-ec2-metadata-token-ttl-seconds"
_TOKEN: Final = "X-aws-ec2-metadata-token"  # noqa: S105 - a header's name
_TOKEN_SECONDS: Final = "21600"  # noqa: S105 - the longest life a token may have

Value = TypeVar("Value")


class MetadataError(Exception):
    """The metadata service did not answer, does not know, or told what cannot be."""


class Metadata:
    """The metadata service of the instance this process runs on. Keeps a session token; safe for concurrent tasks."""

    def __init__(self, endpoint: str) -> None:
        self._latest = f"{endpoint.rstrip('/')}/latest"
        self._session_token = ""

    async def instance_id(self) -> InstanceId:
        """Returns the instance this process runs on."""
        return InstanceId(await self.item("instance-id", matching(r"i-[0-9a-f]+")))

    async def region(self) -> str:
        """Returns the Region this process runs in."""
        return await self.item("placement/region", matching(r"[a-z0-9-]+"))

    async def item(self, path: str, parse: Callable[[str], Value]) -> Value:
        """Returns an item; MetadataError where there is none."""
        return parse_as(path, await self.text(path), parse)

    async def items(self, path: str, parse: Callable[[str], Value]) -> tuple[Value, ...]:
        """Returns the lines of an item that is a list; none where the item is absent, as an empty list is."""
        text = await self.text(path)
        return tuple(parse_as(path, line, parse) for line in (text or "").split())

    async def text(self, path: str) -> str | None:
        """Returns an item as it is told; None where there is none (404)."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        try:
            async with aiohttp.ClientSession(timeout=timeout, raise_for_status=False) as session:
                return await self._get(session, path)
        except (aiohttp.ClientError, TimeoutError, OSError, UnicodeDecodeError) as error:
            raise MetadataError(f"the metadata service did not tell {path}: {error!r}") from error

    async def _get(self, session: aiohttp.ClientSession, path: str) -> str | None:
        known = self._session_token
        status, text = await self._try(session, path, known or await self._new_token(session))
        if status == 401 and known:  # the token's time is over, or the service started anew
            status, text = await self._try(session, path, await self._new_token(session))
        if status == 404:
            return None
        if status != 200:
            raise MetadataError(f"the metadata service did not tell {path}: it answered {status}")
        return text

    async def _try(self, session: aiohttp.ClientSession, path: str, token: str) -> tuple[int, str]:
        url = f"{self._latest}/meta-data/{path}"
        async with session.get(url, headers={_TOKEN: token}, allow_redirects=False) as reply:
            return reply.status, await _body(reply)

    async def _new_token(self, session: aiohttp.ClientSession) -> str:
        url = f"{self._latest}/api/token"
        async with session.put(url, headers={_TTL: _TOKEN_SECONDS}, allow_redirects=False) as reply:
            if reply.status != 200:
                raise MetadataError(f"the metadata service gave no session token: it answered {reply.status}")
            self._session_token = await _body(reply)
        return self._session_token


async def _body(reply: aiohttp.ClientResponse) -> str:
    body = bytearray()
    async for chunk in reply.content.iter_any():
        body += chunk
        if len(body) > LARGEST_ITEM:
            raise MetadataError(f"the metadata service answered more than {LARGEST_ITEM} bytes at {reply.url.path}")
    return body.decode("ascii").strip()


def parse_as(path: str, text: str | None, parse: Callable[[str], Value]) -> Value:
    """Returns what an item means; MetadataError where it is absent or means nothing."""
    if text is None:
        raise MetadataError(f"the metadata service knows no {path}")
    try:
        return parse(text)
    except ValueError as error:
        raise MetadataError(f"the metadata service told {text[:80]!r} for {path}") from error


def matching(pattern: str) -> Callable[[str], str]:
    """Returns a parser that takes text of this pattern and nothing else."""
    expected = re.compile(pattern)

    def parse(text: str) -> str:
        if not expected.fullmatch(text):
            raise ValueError(text)
        return text

    return parse


_MAC: Final = matching(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def mac(text: str) -> str:
    """Reads a MAC address, with or without the slash it has in a listing."""
    return _MAC(text.removesuffix("/").lower())


def eni_id(text: str) -> EniId:
    """Reads an ENI's id."""
    return EniId(matching(r"eni-[0-9a-f]+")(text))


def subnet_id(text: str) -> SubnetId:
    """Reads a subnet's id."""
    return SubnetId(matching(r"subnet-[0-9a-f]+")(text))


def security_group(text: str) -> SecurityGroupId:
    """Reads a security group's id."""
    return SecurityGroupId(matching(r"sg-[0-9a-f]+")(text))


def address(text: str) -> str:
    """Reads an address."""
    return str(ip_address(text))


def cidr(text: str) -> str:
    """Reads a block or prefix."""
    return str(ip_network(text))


def number(text: str) -> int:
    """Reads a small count: a device index or a network card."""
    return int(matching(r"[0-9]{1,3}")(text))
