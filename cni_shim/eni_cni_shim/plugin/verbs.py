"""The CNI verbs: what ADD, DEL, CHECK, GC and STATUS do with the pool and the pod's network.

Decides the order of steps and how they are undone, and which error the runtime sees. Addresses are the pool's, the
kernel is ``pod_network``'s, the wire is ``spec``'s. Counterparts: the agent's ``rpc.server`` calls ``Plugin.handle``,
``sandbox.pool`` is the pool.
"""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Iterator
from typing import Any, Protocol

from eni_cni_shim import chaining, spec
from eni_cni_shim.plugin import pod_links, pod_network
from eni_cni_shim.plugin.addresspool import (
    AddressPool,
    Assignment,
    NoAddressError,
    PoolUnavailableError,
    Sandbox,
    SandboxKey,
)
from eni_cni_shim.protocol import Reply, Request
from eni_cni_shim.spec import CniError, Code, Invocation

logger = logging.getLogger(__name__)


class Network(Protocol):
    """What the verbs need from ``pod_network.PodNetwork``, which tells the errors."""

    async def add(self, netns: int, assignment: Assignment, mtu: int) -> int:
        """Sets up the sandbox's links; returns the number of the first in its pod."""
        ...

    async def check(self, netns: int, assignment: Assignment, mtu: int) -> list[str]:
        """Returns in sentences what differs."""
        ...

    async def remove(self, assignment: Assignment) -> None:
        """Takes the sandbox off the network."""
        ...


class _SettingUp:
    """An ADD under way, in the task of its request: one of its own would be two more turns of the loop for each pod."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task
        self.is_superseded = False
        self.over = asyncio.Event()


class Plugin:
    """Answers a container runtime; to be used from one event loop."""

    def __init__(self, pool: AddressPool, network: Network) -> None:
        self._pool = pool
        self._network = network
        self._setting_up: dict[SandboxKey, _SettingUp] = {}

    async def handle(self, request: Request, netns: int | None) -> Reply:
        """Returns the answer to any request, an error as the specification has it. Raises nothing but CancelledError.

        ``netns`` is the descriptor that came with the request; the caller closes it after this returns. When the
        caller is cancelled, because the runtime has hung up, an ADD is undone.
        """
        try:
            invocation = spec.parse(request.environ, request.stdin)
            return Reply(0, await self._perform(invocation, netns))
        except CniError as error:
            return Reply(1, spec.dump_error(error, spec.version_of(request.stdin)))
        except Exception:
            logger.exception("verb failed", extra={"command": request.environ.get("CNI_COMMAND", "")})
            failure = CniError(Code.INTERNAL, "the agent failed at this request; its log has the traceback")
            return Reply(1, spec.dump_error(failure, spec.version_of(request.stdin)))

    async def _perform(self, invocation: Invocation, netns: int | None) -> bytes:
        verb = {"ADD": self._add, "DEL": self._del, "CHECK": self._check, "GC": self._gc, "STATUS": self._status}
        try:
            return await verb[invocation.command](invocation, netns)
        except NoAddressError as error:
            raise CniError(_later(invocation), str(error), error.reason) from error
        except PoolUnavailableError as error:
            raise CniError(_later(invocation, limits_pods=error.limits_pods), str(error)) from error
        except pod_network.NetnsError as error:
            message = f"CNI_NETNS is {invocation.netns!r}: {error}"
            raise CniError(Code.INVALID_ENVIRONMENT, message) from error
        except pod_network.PodNetworkError as error:
            raise CniError(Code.KERNEL_REFUSED, str(error)) from error

    async def _add(self, invocation: Invocation, netns: int | None) -> bytes:
        descriptor = _opened(invocation, netns)
        sandbox = _sandbox(invocation)
        await self._supersede(sandbox.key)
        with self._under_way(sandbox.key):
            assignment, first = await self._set_up(sandbox, descriptor, invocation.config.mtu)
        result = spec.dump_result(invocation, pod_links.ends_of(assignment), first)
        previous = invocation.config.previous
        return result if previous is None else chaining.append(previous, result)

    async def _set_up(self, sandbox: Sandbox, netns: int, mtu: int) -> tuple[Assignment, int]:
        """Assigns, then programs. Whatever fails, addresses that were not the sandbox's before are not left to it."""
        was_assigned = self._pool.find(sandbox.key) is not None
        assignment = await self._pool.assign(sandbox)
        try:
            first = await self._network.add(netns, assignment, mtu)
        except BaseException:
            if not was_assigned:
                await self._take_down(assignment)
            raise
        return assignment, first

    async def _take_down(self, assignment: Assignment) -> None:
        """First the network, then the address: nobody else may have it while packets still reach the old sandbox."""
        await self._network.remove(assignment)
        await self._pool.release(assignment.sandbox.key)

    @contextlib.contextmanager
    def _under_way(self, key: SandboxKey) -> Iterator[None]:
        """Lets another request for the key end the set-up inside; raises CniError when one did."""
        setting_up = self._setting_up[key] = _SettingUp(_current_task())
        try:
            yield
        except asyncio.CancelledError:
            if setting_up.is_superseded and not setting_up.task.uncancel():  # else the caller is cancelled as well
                message = f"another request for the container {key.container_id} ended this ADD"
                raise CniError(Code.TRY_AGAIN, message) from None
            raise
        finally:
            del self._setting_up[key]
            setting_up.over.set()

    async def _supersede(self, key: SandboxKey) -> None:
        """Ends an ADD that is still under way for the sandbox: a runtime that asks again has given it up."""
        while (setting_up := self._setting_up.get(key)) is not None:
            if not setting_up.task.cancelling():  # twice would end its undoing
                setting_up.is_superseded = True
                setting_up.task.cancel()
            await setting_up.over.wait()

    async def _del(self, invocation: Invocation, _: int | None) -> bytes:
        """Succeeds for what is not known or already gone; the key holds the container id, so a late DEL hits no other.

        The namespace is not needed: its end of the veth goes with the host's.
        """
        key = _sandbox(invocation).key
        await self._supersede(key)
        assignment = self._pool.find(key)
        if assignment is not None:
            await self._take_down(assignment)
        return b""

    async def _check(self, invocation: Invocation, netns: int | None) -> bytes:
        sandbox = _sandbox(invocation)
        held = self._pool.find(sandbox.key)
        if held is None:
            message = f"the container {invocation.container_id} has no address in the network {invocation.config.name}"
            raise CniError(Code.UNKNOWN_CONTAINER, message)
        # The pool may have found the sandbox again by its host link and know no more of it.
        assignment = dataclasses.replace(held, sandbox=sandbox)
        found = spec.differences(invocation.config.previous or {}, pod_links.ends_of(assignment))
        found += await self._network.check(_opened(invocation, netns), assignment, invocation.config.mtu)
        if found:
            raise CniError(Code.NETWORK_DIFFERS, "; ".join(found))
        return b""

    async def _gc(self, invocation: Invocation, _: int | None) -> bytes:
        """Releases what the runtime does not count among the living; goes on after a failure and reports the first.

        Where it has not said who lives, nothing is released: the agent's own sweep finds what is gone.
        """
        valid = invocation.config.valid_attachments
        if valid is None:
            return b""
        failure: pod_network.PodNetworkError | PoolUnavailableError | None = None
        for assignment in list(self._pool.assignments()):
            key = assignment.sandbox.key
            if key.network != invocation.config.name or (key.container_id, key.ifname) in valid:
                continue
            if key in self._setting_up:  # began after the runtime drew up its list
                continue
            try:
                await self._take_down(assignment)
            except (pod_network.PodNetworkError, PoolUnavailableError) as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return b""

    async def _status(self, _: Invocation, __: int | None) -> bytes:
        self._pool.check_ready()
        return b""


def _sandbox(invocation: Invocation) -> Sandbox:
    return Sandbox(
        key=SandboxKey(invocation.config.name, invocation.container_id, invocation.ifname),
        netns=invocation.netns,
        pod_namespace=invocation.pod.namespace,
        pod_name=invocation.pod.name,
        pod_uid=invocation.pod.uid,
        every_card=invocation.config.every_card,
    )


def _opened(invocation: Invocation, netns: int | None) -> int:
    if netns is None:
        message = f"CNI_NETNS is {invocation.netns!r}, which cannot be opened; the path of a namespace is needed"
        raise CniError(Code.INVALID_ENVIRONMENT, message)
    return netns


def _later(invocation: Invocation, *, limits_pods: bool = False) -> Code:
    if invocation.command != "STATUS":
        return Code.TRY_AGAIN
    return Code.LIMITED_CONNECTIVITY if limits_pods else Code.NOT_AVAILABLE


def _current_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task
