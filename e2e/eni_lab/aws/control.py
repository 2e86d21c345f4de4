"""The laboratory's own door to the stand-in, under ``/_lab/``: knobs, faults, denials, calls, state and invariants.

Never used by the product. Counterpart: ``eni-lab aws`` on the command line and the tests.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from aiohttp import web

from eni_lab.aws.engine.access import Denial
from eni_lab.aws.engine.invariants import breaches
from eni_lab.aws.engine.parsing import parse
from eni_lab.aws.faults import Fault
from eni_lab.aws.http import Endpoint
from eni_lab.aws.latency import NO_TIME, ServiceTimes


class Control:
    """Handlers of one endpoint's control."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._engine = endpoint.engine

    def add_routes(self, app: web.Application) -> None:
        """Adds the control to an application."""
        router = app.router
        router.add_get("/_lab/knobs", self.show_knobs)
        router.add_post("/_lab/knobs", self.turn_knobs)
        router.add_get("/_lab/faults", self.show_faults)
        router.add_post("/_lab/faults", self.add_fault)
        router.add_delete("/_lab/faults", self.clear_faults)
        router.add_delete("/_lab/faults/{id:[0-9]+}", self.remove_fault)
        router.add_post("/_lab/denials", self.add_denial)
        router.add_delete("/_lab/denials", self.clear_denials)
        router.add_post("/_lab/service-times", self.set_service_times)
        router.add_post("/_lab/metadata", self.set_metadata)
        router.add_get("/_lab/calls", self.show_calls)
        router.add_delete("/_lab/calls", self.reset_calls)
        router.add_get("/_lab/throttle", self.show_throttle)
        router.add_get("/_lab/state", self.show_state)
        router.add_get("/_lab/invariants", self.show_breaches)

    async def show_knobs(self, _: web.Request) -> web.Response:
        """Shows every knob."""
        return web.json_response(asdict(self._engine.knobs))

    async def turn_knobs(self, request: web.Request) -> web.Response:
        """Turns the knobs named in the body; 400 with a sentence for an unknown one or a bad value."""
        changes = await _object(request)
        with _refusals():
            self._engine.configure(**changes)
        return web.json_response(asdict(self._engine.knobs))

    async def show_faults(self, _: web.Request) -> web.Response:
        """Shows the faults still to come."""
        rules = self._endpoint.faults.rules
        return web.json_response([{"id": key, **asdict(fault)} for key, fault in rules.items()])

    async def add_fault(self, request: web.Request) -> web.Response:
        """Scripts a fault (fields of ``faults.Fault``)."""
        body = await _object(request)
        with _refusals():
            return web.json_response({"id": self._endpoint.faults.add(parse(Fault, body))})

    async def clear_faults(self, _: web.Request) -> web.Response:
        """Takes all faults back."""
        self._endpoint.faults.clear()
        return web.json_response([])

    async def remove_fault(self, request: web.Request) -> web.Response:
        """Takes one fault back."""
        self._endpoint.faults.remove(int(request.match_info["id"]))
        return await self.show_faults(request)

    async def add_denial(self, request: web.Request) -> web.Response:
        """Denies an action to a caller (fields of ``access.Denial``)."""
        body = await _object(request)
        with _refusals():
            self._engine.access.denials.append(parse(Denial, body))
        return web.json_response([asdict(rule) for rule in self._engine.access.denials])

    async def clear_denials(self, _: web.Request) -> web.Response:
        """Allows everything again."""
        self._engine.access.denials.clear()
        return web.json_response([])

    async def set_service_times(self, request: web.Request) -> web.Response:
        """Sets ``{"enabled": false}`` for calls without a service time, true for the usual ones."""
        enabled = (await _object(request)).get("enabled")
        if not isinstance(enabled, bool):
            raise web.HTTPBadRequest(text="enabled must be true or false")
        self._endpoint.times = ServiceTimes() if enabled else NO_TIME
        return web.json_response({"enabled": enabled})

    async def set_metadata(self, request: web.Request) -> web.Response:
        """Scripts metadata of an instance: ``{"instance": id, "items": {path: text or null}}``; null takes it away."""
        body = await _object(request)
        instance_id, items = body.get("instance"), body.get("items")
        if self._engine.region.instances.get(str(instance_id)) is None or not isinstance(items, dict):
            raise web.HTTPBadRequest(text=f"instance is {instance_id!r}, items must be an object of paths")
        self._engine.region.metadata_items.setdefault(str(instance_id), {}).update(items)
        return web.json_response(self._engine.region.metadata_items[str(instance_id)])

    async def show_calls(self, request: web.Request) -> web.Response:
        """Shows counts, and with ``?last=N`` the last N calls."""
        last = request.query.get("last", "0")
        if not last.isdecimal():
            raise web.HTTPBadRequest(text=f"last is {last!r}, it must be a number")
        log = self._endpoint.log
        return web.json_response({**log.counts(), "calls": log.rows(int(last))})

    async def reset_calls(self, _: web.Request) -> web.Response:
        """Starts counting anew."""
        self._endpoint.log.reset()
        return web.json_response(self._endpoint.log.counts())

    async def show_throttle(self, _: web.Request) -> web.Response:
        """Shows the request buckets in use."""
        return web.json_response(self._engine.throttle_levels())

    async def show_state(self, _: web.Request) -> web.Response:
        """Shows every resource as the engine holds it, whatever Describe shows."""
        region = self._engine.region
        state: dict[str, list[Any]] = {
            "vpcs": region.vpcs.values(),
            "subnets": region.subnets.values(),
            "securityGroups": region.groups.values(),
            "reservations": region.reservations.values(),
            "instances": region.instances.values(),
            "enis": region.enis.values(),
            "ports": self._engine.ports(),
        }
        rows = {name: [asdict(row) for row in values] for name, values in state.items()}
        return web.json_response({"version": region.version, "now": region.now, **rows})

    async def show_breaches(self, _: web.Request) -> web.Response:
        """Shows the laws that do not hold; an empty list is the only good answer."""
        return web.json_response(breaches(self._engine.region))


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise web.HTTPBadRequest(text=str(error)) from error


async def _object(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError as error:
        raise web.HTTPBadRequest(text="the body must be JSON") from error
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="the body must be a JSON object")
    return body
