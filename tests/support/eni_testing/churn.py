"""Pods that come and go on one node in every disorderly way a runtime knows, while the agent is killed at random.

Everything is real but the operator: kernel, namespaces, the CNI executable, the agent as a process. ``Churn.run``
plays, ``Churn.clear`` ends all that lives; what must hold is looked up in the kernels of the pods and the host, never
asked of the agent. Chance is seeded, so a run can be repeated as far as a kernel repeats itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import random
import re
import signal
import subprocess
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from eni_lab.fabric.namespaces import entered
from eni_testing import cni

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eni_testing.agents import AgentNode

AT_ONCE: Final = 12
"""Sandboxes a runtime works at."""
KILL_SECONDS: Final = (2.0, 8.0)
"""Between two kills of the agent, and how long its successor takes to come."""
AWAY_SECONDS: Final = (0.0, 1.5)
AUDIT_SECONDS: Final = 0.25
TRY_AGAIN: Final = 11
_CLONE_NEWNET: Final = 0x40000000
_LOCAL: Final = re.compile(r"\|-- (\d+\.\d+\.\d+\.\d+)\n\s+/32 host LOCAL")


class Netns:
    """A network namespace without a process; others reach it by a path that no other ever has."""

    def __init__(self, path: Path) -> None:
        thread = threading.Thread(target=self._unshare)
        thread.start()
        thread.join()
        path.symlink_to(f"/proc/{os.getpid()}/fd/{self._descriptor}")
        self.path = str(path)

    def _unshare(self) -> None:
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        self._descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def addresses(self) -> set[str]:
        """Returns the addresses this namespace's kernel listens on."""
        with entered(self.path), open("/proc/thread-self/net/fib_trie") as file:  # noqa: PTH123  the thread's own
            return set(_LOCAL.findall(file.read()))

    def close(self) -> None:
        """Lets go of it; the kernel deletes it with its links when nobody else is in it."""
        Path(self.path).unlink()
        os.close(self._descriptor)


@dataclass(eq=False)
class Sandbox:
    """A container that may have a network."""

    container_id: str
    pod: str
    netns: Netns
    result: dict[str, Any] = field(default_factory=dict)
    """What ADD has returned; empty before."""


class Churn:
    """One node's runtime, whose pods come and go."""

    def __init__(self, node: AgentNode, executable: list[str], *, pods: int, seed: int) -> None:
        self.node = node
        self.counts: Counter[str] = Counter()
        self.broken: list[str] = []
        """What must never be and was."""
        self._executable = executable
        self._pods = pods
        self._chance = random.Random(seed)
        self._calls = ThreadPoolExecutor(AT_ONCE * 2, "runtime")
        self._live: set[Sandbox] = set()
        """Whose namespace is there."""
        self._at_rest: list[Sandbox] = []
        """Of these, those nobody works at."""
        self._started = 0
        self._ends_at = 0.0

    async def run(self, seconds: float) -> None:
        """Plays for so long."""
        self._ends_at = time.monotonic() + seconds
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(self._work())
            tasks.create_task(self._kill())
            tasks.create_task(self._audit())

    async def clear(self) -> None:
        """Ends every pod: most with a DEL, some without."""

        async def work() -> None:
            while self._at_rest:
                await self._end(self._at_rest.pop())

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        self._calls.shutdown()

    @property
    def is_over(self) -> bool:
        """Tells whether the time is up."""
        return time.monotonic() > self._ends_at

    # What a runtime does

    async def _work(self) -> None:
        while not self.is_over:
            if not self._at_rest or (len(self._live) < self._pods and self._chance.random() < self._appetite):
                await self._begin()
            else:
                await self._end(self._at_rest.pop(self._chance.randrange(len(self._at_rest))))

    @property
    def _appetite(self) -> float:
        """How likely a pod comes rather than goes: first all, then about as many."""
        return 0.95 if len(self._live) < 0.9 * self._pods else 0.5

    async def _begin(self) -> None:
        self._started += 1
        name = f"c{self._started:08x}"
        netns = Netns(self.node.folder / name)
        sandbox = Sandbox(name, f"web-{self._started % (2 * self._pods)}", netns)
        self._live.add(sandbox)
        disorder = self._chance.choices(
            (self._add, self._add_twice, self._add_and_delete, self._add_and_hang_up, self._add_and_vanish),
            (80, 5, 5, 5, 5),
        )[0]
        await disorder(sandbox)
        if sandbox in self._live:
            self._at_rest.append(sandbox)

    async def _add(self, sandbox: Sandbox) -> None:
        outcome = await self._call("ADD", sandbox)
        self._see_add(sandbox, outcome)
        if outcome.exit_code:
            await self._end(sandbox)  # as containerd does, which then tries with a new sandbox
        elif self._chance.random() < 0.1:
            self._see_check(sandbox, await self._call("CHECK", sandbox))

    async def _add_twice(self, sandbox: Sandbox) -> None:
        self.counts["two ADDs at once"] += 1
        outcomes = await asyncio.gather(self._call("ADD", sandbox), self._call("ADD", sandbox))
        for outcome in outcomes:
            self._see_add(sandbox, outcome)
        if not sandbox.result:
            await self._end(sandbox)

    async def _add_and_delete(self, sandbox: Sandbox) -> None:
        self.counts["DEL during ADD"] += 1
        adding = asyncio.create_task(self._call("ADD", sandbox))
        await asyncio.sleep(self._chance.uniform(0, 0.005))
        await self._delete(sandbox)
        outcome = await adding
        if outcome.exit_code == 0:  # the ADD was the later of the two
            self._see_add(sandbox, outcome)
        else:
            await self._end(sandbox)

    async def _add_and_hang_up(self, sandbox: Sandbox) -> None:
        """The runtime kills the executable, as it does when its context ends."""
        self.counts["ADD given up"] += 1
        variables, stdin = self._request("ADD", sandbox)
        pipe = subprocess.PIPE
        process = subprocess.Popen(  # noqa: ASYNC220  it returns at once
            self._executable, env=variables, stdin=pipe, stdout=subprocess.DEVNULL
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(stdin)
            process.stdin.close()
        await asyncio.sleep(self._chance.uniform(0, 0.004))
        process.kill()
        await asyncio.to_thread(process.wait)
        await self._end(sandbox)

    async def _add_and_vanish(self, sandbox: Sandbox) -> None:
        """The namespace goes while it is set up."""
        self.counts["namespace gone during ADD"] += 1
        adding = asyncio.create_task(self._call("ADD", sandbox))
        await asyncio.sleep(self._chance.uniform(0, 0.004))
        self._forget(sandbox)
        await adding
        if self._chance.random() < 0.5:
            await self._delete(sandbox)

    async def _end(self, sandbox: Sandbox) -> None:
        """Takes a sandbox down: mostly in order, else twice, late, or without a word."""
        manner = self._chance.choices(("in order", "twice", "late", "lost"), (70, 10, 10, 10))[0]
        if manner in {"in order", "twice"}:
            calls = 2 if manner == "twice" else 1
            await asyncio.gather(*(self._delete(sandbox) for _ in range(calls)))
        self._forget(sandbox)
        if manner == "late":
            await self._delete(sandbox)
        self.counts[f"DEL {manner}"] += 1

    async def _delete(self, sandbox: Sandbox) -> None:
        outcome = await self._call("DEL", sandbox)
        if outcome.exit_code not in {0, 1} or (outcome.exit_code and outcome.code != TRY_AGAIN):
            self._break(f"DEL of {sandbox.container_id} fails: {outcome}")

    def _forget(self, sandbox: Sandbox) -> None:
        if sandbox in self._live:
            self._live.remove(sandbox)
            sandbox.netns.close()

    # What is seen of it

    def _see_add(self, sandbox: Sandbox, outcome: cni.Outcome) -> None:
        if outcome.exit_code:
            self.counts[f"ADD refused {outcome.code}"] += 1
            if outcome.code != TRY_AGAIN:
                self._break(f"ADD of {sandbox.container_id} fails: {outcome}")
            return
        self.counts["ADD"] += 1
        before, sandbox.result = sandbox.result, outcome.json
        if before and before["ips"] != sandbox.result["ips"]:
            self._break(f"{sandbox.container_id} was told {before['ips']} and {sandbox.result['ips']}")

    def _see_check(self, sandbox: Sandbox, outcome: cni.Outcome) -> None:
        self.counts["CHECK"] += 1
        if outcome.exit_code and outcome.code != TRY_AGAIN and sandbox in self._live:
            self._break(f"CHECK of {sandbox.container_id} fails: {outcome}")

    async def _audit(self) -> None:
        """Asks the kernels of all pods for their addresses, again and again."""
        while not self.is_over:
            await asyncio.to_thread(self._find_twins, list(self._live))
            self.counts["audits"] += 1
            await asyncio.sleep(AUDIT_SECONDS)

    def _find_twins(self, sandboxes: Sequence[Sandbox]) -> None:
        owners: dict[str, Sandbox] = {}
        for sandbox in sandboxes:
            for address in _addresses(sandbox):
                other = owners.setdefault(address, sandbox)
                # The other was asked some time ago; it counts only if it has the address while this one has it.
                if other is not sandbox and address in _addresses(other) and address in _addresses(sandbox):
                    self._break(f"{address} is on {other.container_id} and on {sandbox.container_id}")

    def _break(self, sentence: str) -> None:
        self.broken.append(sentence)

    # The agent and the executable

    async def _kill(self) -> None:
        while not self.is_over:
            await asyncio.sleep(self._chance.uniform(*KILL_SECONDS))
            await asyncio.to_thread(self.node.stop, signal.SIGKILL)
            await asyncio.sleep(self._chance.uniform(*AWAY_SECONDS))
            self.node.start()
            self.counts["agents killed"] += 1
            await self.node.until_serving()

    async def _call(self, command: str, sandbox: Sandbox) -> cni.Outcome:
        variables, stdin = self._request(command, sandbox)
        call = asyncio.get_running_loop().run_in_executor
        return await call(self._calls, cni.run, self._executable, variables, stdin, 60)

    def _request(self, command: str, sandbox: Sandbox) -> tuple[dict[str, str], bytes]:
        variables = cni.environ(command, container_id=sandbox.container_id, netns=sandbox.netns.path)
        arguments = f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={sandbox.pod};K8S_POD_UID={sandbox.pod}"
        variables |= {"ENI_AGENT_SOCKET": str(self.node.socket_path), "CNI_ARGS": arguments}
        config = {**cni.CONFIG, "cniVersion": "1.1.0"} | ({"prevResult": sandbox.result} if sandbox.result else {})
        return variables, json.dumps(config).encode()


def _addresses(sandbox: Sandbox) -> set[str]:
    """Returns a sandbox's addresses; none when its namespace has gone meanwhile."""
    try:
        return sandbox.netns.addresses()
    except OSError:
        return set()
