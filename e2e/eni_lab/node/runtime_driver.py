"""Runs on a node: executes the CNI plugin for namespaces of its own, as commanded on standard input.

A line ``NEW NAME`` makes a namespace, ``ADD NAME`` gives it a network, ``DEL NAME`` takes both away. Each begins at
once, many side by side, and ends with a JSON line. A failed ADD is tried again after as many
seconds as the command line says. Counterpart: ``eni_lab.node.runtime``.
"""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

CONFLIST = Path("/etc/cni/net.d/10-eni.conflist")
PLUGINS = Path("/opt/cni/bin")
RETRY_SECONDS = float(sys.argv[1])
_output = threading.Lock()


def configuration() -> tuple[str, bytes]:
    """The first plugin of the node's conflist, and what it is given on standard input."""
    conflist = json.loads(CONFLIST.read_text())
    plugin = conflist["plugins"][0]
    given = {**plugin, "cniVersion": conflist["cniVersion"], "name": conflist["name"]}
    return str(PLUGINS / plugin["type"]), json.dumps(given).encode()


def execute(verb: str, name: str) -> subprocess.CompletedProcess[bytes]:
    """Executes the plugin once, as a runtime does."""
    plugin, given = configuration()
    environ = {
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": name,
        "CNI_NETNS": f"/run/netns/{name}",
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE=lab;K8S_POD_NAME={name};K8S_POD_UID={name}",
        "CNI_PATH": str(PLUGINS),
    }
    return subprocess.run([plugin], input=given, env=environ, capture_output=True, check=False)


def new(name: str) -> dict[str, object]:
    """Makes a namespace, as a runtime does before it calls the plugin."""
    subprocess.run(["ip", "netns", "add", name], check=True)
    return {}


def add(name: str) -> dict[str, object]:
    """Gives a namespace its network, however often it takes."""
    began, failures, error = time.monotonic(), 0, ""
    while (done := execute("ADD", name)).returncode:
        failures, error = failures + 1, done.stdout.decode()
        time.sleep(RETRY_SECONDS)
    address = json.loads(done.stdout)["ips"][0]["address"].partition("/")[0]
    ended = time.monotonic()
    return {"failures": failures, "error": error, "address": address, "seconds": ended - began, "ended": ended}


def delete(name: str) -> dict[str, object]:
    """Takes the network away, then the namespace."""
    began = time.monotonic()
    done = execute("DEL", name)
    seconds = time.monotonic() - began
    subprocess.run(["ip", "netns", "delete", name], check=True)
    failed = done.returncode != 0
    return {"failures": int(failed), "error": done.stdout.decode() if failed else "", "seconds": seconds}


def perform(verb: str, name: str) -> None:
    """Performs one command and reports it."""
    report = {"NEW": new, "ADD": add, "DEL": delete}[verb](name)
    with _output:
        print(json.dumps({"verb": verb, "name": name, **report}), flush=True)


def main() -> None:
    """Reads commands until the end of input."""
    for line in sys.stdin:
        verb, name = line.split()
        threading.Thread(target=perform, args=(verb, name)).start()


if __name__ == "__main__":
    main()
