"""The AWS endpoint: EC2 and STS as POST to ``/``.

Does service times, scripted faults and the log of calls; what a call means is the engine's. Counterparts: ``wire``,
``sts``, ``control``.
"""

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from eni_lab.aws import sts, wire
from eni_lab.aws.calls import Call, CallLog
from eni_lab.aws.engine.caller import Caller
from eni_lab.aws.engine.engine import Engine
from eni_lab.aws.engine.errors import Ec2Error
from eni_lab.aws.faults import Fault, FaultPlan, When
from eni_lab.aws.latency import ServiceTimes
from eni_lab.aws.sessions import Sessions

LARGEST_BODY = 1 << 20
"""Bytes of a request; 1,000 ids are some 50 kB."""


class ReplyLostError(Exception):
    """The call shall get no answer: a scripted fault closes the connection."""


@dataclass(slots=True)
class Endpoint:
    """One region's endpoint and what can be scripted about it."""

    engine: Engine
    sessions: Sessions
    faults: FaultPlan
    log: CallLog
    times: ServiceTimes

    def add_routes(self, app: web.Application) -> None:
        """Adds the endpoint to an application."""
        app.router.add_post("/", self.answer)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answers one EC2 or STS call."""
        body = await request.text()
        request_id = str(uuid.uuid4())
        form = dict(parse_qsl(body, keep_blank_values=True))
        is_sts = form.get("Version") == sts.VERSION
        try:
            text = await (self._sts(form, request) if is_sts else self._ec2(body, form, request, request_id))
        except Ec2Error as error:
            render = sts.render_error if is_sts else wire.render_error
            return _xml(render(error, request_id), request_id, error.status)
        except ReplyLostError:
            return _hang_up(request)
        return _xml(text, request_id, 200)

    async def _ec2(self, body: str, form: Mapping[str, str], request: web.Request, request_id: str) -> str:
        action, began = form.get("Action", ""), self.engine.clock()
        caller = _unnamed(request)
        outcome = "ok"
        try:
            caller = self._caller(request)
            return wire.render_reply(action, await self._perform(body, action, caller), request_id)
        except Ec2Error as error:
            outcome = error.code
            raise
        except ReplyLostError:
            outcome = "lost"
            raise
        finally:
            now = self.engine.clock()
            self.log.add(Call(began, action, caller, outcome, now - began))

    def _caller(self, request: web.Request) -> Caller:
        name = self.sessions.caller(request.headers.get("Authorization", ""))
        return replace(_unnamed(request), name=name)

    async def _perform(self, body: str, action: str, caller: Caller) -> Mapping[str, Any]:
        _, args = wire.parse_request(body)
        await asyncio.sleep(self.times.of(action))
        await self._strike("before", action, caller)
        reply = self.engine.call(action, args, caller)
        await self._strike("after", action, caller)
        return reply

    async def _strike(self, when: When, action: str, caller: Caller) -> None:
        fault: Fault | None = self.faults.strike(when, action, caller)
        if fault is None:
            return
        await asyncio.sleep(fault.latency)
        if fault.lose_reply:
            raise ReplyLostError
        error = fault.error()
        if error is not None:
            raise error

    async def _sts(self, form: Mapping[str, str], request: web.Request) -> str:
        action = form.get("Action", "")
        await asyncio.sleep(self.times.of(action))
        await self._strike("before", action, _unnamed(request))
        if action == "AssumeRoleWithWebIdentity":
            return sts.assume_role_with_web_identity(form, self.sessions, self.engine.clock())
        if action == "GetCallerIdentity":
            return sts.get_caller_identity(self._caller(request))
        raise Ec2Error("InvalidAction", f"The action {action} is not modelled by the stand-in's STS.")


def _unnamed(request: web.Request) -> Caller:
    """Returns what is known of a caller before the signature is looked at."""
    return Caller("unknown", request.headers.get("User-Agent", ""), request.remote or "")


def _xml(text: str, request_id: str, status: int) -> web.Response:
    headers = {"x-amzn-RequestId": request_id}
    return web.Response(text=text, status=status, content_type="text/xml", headers=headers)


def _hang_up(request: web.Request) -> web.StreamResponse:
    """Closes the connection without a byte, as a lost reply looks to the caller."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
