"""A laboratory with one node and the product on it, for measurements of the pool: what it holds, what EC2 was asked.

Pods are namespaces that get their network by the CNI plugin executed as a runtime does (``eni_lab.node.runtime``); the
control plane, EC2's service times, operator and agent are as in ``make demo``.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eni_lab.cloud_client import ADMINISTRATOR
from eni_lab.demo import observed
from eni_lab.lab import Lab, Options
from eni_lab.layout import Layout
from eni_lab.node.runtime import Runtime
from eni_lab.waiting import wait_for

QUIET_SECONDS = 5.0
"""A pool that has asked EC2 for nothing for so long is at rest."""


class Node:
    """The node under measurement."""

    def __init__(self, lab: Lab, runtime: Runtime, name: str) -> None:
        self.lab = lab
        self.runtime = runtime
        self.name = name
        self._instance = lab.node(name).instance.instance_id

    def pool(self) -> observed.Pool:
        """The node's pool."""
        return observed.pool(self.lab, self.name)

    def settle(self, seconds: float = 60) -> None:
        """Waits until the pool holds what it wants."""
        wait_for("the pool is settled", self._is_settled, seconds=seconds, interval=0.2)

    def _is_settled(self) -> bool:
        pool = self.pool()
        held = pool.is_settled and pool.addresses == pool.wanted and pool.reason() == "PoolReady"
        return held and time.time() - self._last_call() > QUIET_SECONDS

    def _last_call(self) -> float:
        calls = self.lab.cloud.control("GET", "/_lab/calls?last=100")["calls"]
        return max((call["at"] for call in calls if call["caller"]["name"] != ADMINISTRATOR), default=0.0)

    def held(self) -> int:
        """Pod addresses on the node in EC2: secondary addresses, and 16 for each prefix."""
        enis = self.lab.cloud.control("GET", "/_lab/state")["enis"]
        mine = [eni for eni in enis if (eni.get("attachment") or {}).get("instance_id") == self._instance]
        return sum(len(eni["addresses"]) + 16 * len(eni["prefixes"]) for eni in mine)

    def calls(self) -> dict[str, int]:
        """EC2 calls by kind since the last reset, the laboratory's own left out."""
        return dict(observed.ec2_calls(self.lab))

    def reset_calls(self) -> None:
        """Starts counting anew."""
        self.lab.cloud.control("DELETE", "/_lab/calls")


@contextmanager
def node(options: Options, environ: dict[str, str] | None = None) -> Iterator[Node]:
    """The one node of a laboratory, Ready and settled; ``environ`` is given to the operator."""

    def report(text: str) -> None:
        print(f"  {text}", file=sys.stderr, flush=True)

    usual = Layout.from_env(os.environ, Path.home())  # a person's, which stays as it is
    lab = Lab(Layout(usual.cache, usual.state.with_name(f"{usual.state.name}-bench")), os.environ, report)
    try:
        lab.up(options)
        lab.deploy()
        _set_environ(lab, environ or {})
        with Runtime(lab.nodes()[0]) as runtime:
            measured = Node(lab, runtime, lab.nodes()[0].name)
            measured.settle()
            yield measured
    finally:
        lab.down()


def _set_environ(lab: Lab, environ: dict[str, str]) -> None:
    if environ:
        values = [f"{name}={value}" for name, value in environ.items()]
        lab.kubectl("set", "env", "daemonset/eni-operator", "-n", "kube-system", *values)
        lab.kubectl("rollout", "status", "daemonset/eni-operator", "-n", "kube-system", "--timeout=60s")
