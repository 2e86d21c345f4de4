"""The agent's part of a CNI call and nothing else: socket, plugin, pool, ledger and journal as the agent has them.

Usage: python -m benchmarks.cni_agent SOCKET JOURNAL. Prints a line when it serves; SIGTERM ends it. Its supply is
written here, so neither API server nor EC2 takes part in what is measured.
"""

import asyncio
import gc
import signal
import sys
import time
from pathlib import Path

from eni_cni_shim.plugin.pod_network import PodNetwork
from eni_cni_shim.plugin.verbs import Plugin
from eni_crds.nodeippool import Supply
from eni_node_agent.ledger.journal import Journal
from eni_node_agent.ledger.ledger import Ledger
from eni_node_agent.ledger.packing import cidrs_of
from eni_node_agent.rpc.server import Server
from eni_node_agent.sandbox.pool import Refusal, SandboxPool

PREFIXES = [f"10.0.{third}.{fourth}/28" for third in (2, 3) for fourth in range(0, 256, 16)]
SUPPLY = Supply.model_validate(
    {
        "instance": {"id": "i-0123456789abcdef0", "type": "m5.large", "zone": "eu-central-1a", "vpcID": "vpc-1"},
        "limits": {"enis": 3, "addressesPerENI": 40, "maximumPods": 500},
        "policy": {"cooldownSeconds": {"value": 0, "origin": "default"}},  # rounds come faster than addresses cool
        "wanted": 512,
        "totals": {"enis": 1, "prefixes": len(PREFIXES), "addresses": 512},
        "enis": [
            {
                "id": "eni-1",
                "mac": "02:00:00:00:00:01",
                "deviceIndex": 0,
                "role": "primary",
                "subnetID": "subnet-1",
                "subnetCIDR": "10.0.0.0/16",
                "gateway": "10.0.0.1",
                "primaryIP": "10.0.0.10",
                "state": "attached",
                "prefixes": PREFIXES,
            }
        ],
    }
)


async def serve(socket: Path, journal: Path) -> None:
    """Serves until SIGTERM."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    ledger = Ledger(Journal(journal))
    ledger.observe(SUPPLY, {cidr for eni in SUPPLY.enis for cidr in cidrs_of(eni)}, time.monotonic())
    pool = SandboxPool(
        ledger, hold_seconds=1, clock=time.monotonic, explain=lambda: Refusal("PoolEmpty", "all given"), pressed=_ignore
    )
    network = PodNetwork()
    async with Server(socket, Plugin(pool, network)).serve():
        gc.freeze()
        print("serving", flush=True)
        await ended.wait()
    await network.aclose()


def _ignore() -> None:
    """Nobody is to be told of demand."""


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
