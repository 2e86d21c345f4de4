"""The fabric's part of the laboratory's control endpoints, on the stand-in's own HTTP application.

``POST /_lab/nodes {"instance": "i-…", "pid": 123}`` plugs an instance's interfaces into the network namespace of a
process; the reply comes when they are there and the first is configured. The process id is read in the process-id
namespace of the stand-in's own process, through its ``/proc``; ``"netns": "/path"`` instead of ``pid`` names any file
of a namespace. Posting again after a reboot moves the interfaces. ``DELETE /_lab/nodes/{instance}`` unplugs them.
``POST /_lab/outages {"address": "10.0.1.5", "how": "refused"}`` takes the AWS endpoint away from who calls from that
address (a reset at once; ``unheard``: never an answer), ``DELETE /_lab/outages`` gives it back to all.
``GET /_lab/fabric`` shows nodes, ports, outages and what was dropped.
"""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING, Any

from aiohttp import web

from eni_lab.fabric.firewall import OUTAGES, Outage

if TYPE_CHECKING:
    from eni_lab.fabric.service import FabricService


def add_routes(app: web.Application, service: FabricService) -> None:
    """Adds the endpoints to ``app``."""

    async def plug(request: web.Request) -> web.Response:
        instance_id, namespace_path = _node(await request.text())
        try:
            await service.register(instance_id, namespace_path)
        except OSError as error:
            raise _bad_request(f"there is no network namespace at {namespace_path}: {error.strerror}") from error
        return web.json_response({"instance": instance_id, "netns": namespace_path})

    async def unplug(request: web.Request) -> web.Response:
        await service.unregister(request.match_info["instance"])
        return web.json_response({})

    async def cut_off(request: web.Request) -> web.Response:
        await service.cut_off(*_outage(await request.text()))
        return web.json_response({})

    async def end_outages(_: web.Request) -> web.Response:
        await service.end_outages()
        return web.json_response({})

    async def show(_: web.Request) -> web.Response:
        return web.json_response(await service.status())

    app.router.add_post("/_lab/nodes", plug)
    app.router.add_delete("/_lab/nodes/{instance}", unplug)
    app.router.add_post("/_lab/outages", cut_off)
    app.router.add_delete("/_lab/outages", end_outages)
    app.router.add_get("/_lab/fabric", show)


def _node(body: str) -> tuple[str, str]:
    """The instance and the namespace's path that a body asks for; 400 with a sentence when it does not say."""
    values = _json_object(body)
    unknown = values.keys() - {"instance", "pid", "netns"}
    if unknown:
        raise _bad_request(f"unknown field {min(unknown)!r}, allowed are instance, and pid or netns")
    instance_id = values.get("instance")
    if not isinstance(instance_id, str) or not instance_id.startswith("i-"):
        raise _bad_request(f"instance is {instance_id!r}, it must be an instance id such as 'i-0123456789abcdef0'")
    return instance_id, _namespace_path(values)


def _namespace_path(values: dict[str, Any]) -> str:
    match values.get("pid"), values.get("netns"):
        case int(pid), None if pid > 0:
            return f"/proc/{pid}/ns/net"
        case None, str(path) if path.startswith("/"):
            return path
        case pid, path:
            raise _bad_request(
                f"pid is {pid!r} and netns is {path!r}, one must be given: a process id or an absolute path"
            )


def _outage(body: str) -> tuple[str, Outage]:
    """The address and the kind of outage that a body asks for; 400 with a sentence when it does not say."""
    values = _json_object(body)
    address, how = values.get("address"), values.get("how", "refused")
    try:
        ipaddress.IPv4Address(address if isinstance(address, str) else "")
    except ValueError as error:
        raise _bad_request(f"address is {address!r}, it must be an IPv4 address") from error
    if how not in OUTAGES:
        raise _bad_request(f"how is {how!r}, allowed are {', '.join(OUTAGES)}")
    return str(address), how


def _json_object(body: str) -> dict[str, Any]:
    try:
        values = json.loads(body)
    except json.JSONDecodeError as error:
        raise _bad_request(f"the body is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise _bad_request(f"the body is {values!r}, it must be an object with instance, and pid or netns")
    return values


def _bad_request(sentence: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=sentence)
