"""Leaves a node as Amazon's VPC CNI leaves it: run on the node itself, by its own Python, with ``ip`` and ``iptables``.

Nothing of VPC CNI's is here; the outcome is what is documented of it (route tables, priorities, chains, names, results,
checkpoint), brought about with the node's tools. Two uses of one file:

    vpc_cni.py node <config.json>     what its daemon programs for the node; writes the pool and the conflist
    aws-cni                           installed under this name: the CNI executable, ADD, DEL and VERSION

A pool is a JSON file: ``{"free": [{"address", "table", "device"}…], "daemon": true}``. With ``daemon`` false it answers
as VPC CNI does while its daemon is away: ADD fails, DEL takes the pod down and forgets nothing.
"""

import fcntl
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MARK = "0x80"
NAME = "aws-cni"
RUN_DIR = Path(os.environ.get("VPC_CNI_RUN_DIR", "/var/run/aws-node"))


def run(*command: str, check: bool = True) -> str:
    """Runs a command; what it printed."""
    return subprocess.run(command, check=check, capture_output=True, text=True).stdout


def leave_node(config: dict[str, Any]) -> None:
    """Programs the node: secondary ENIs, rules, translation, connection marks; then pool and conflist.

    ``config``: ``vpc`` (CIDRs), ``primary`` (ifname, address), ``enis`` (ifname, address with mask, gateway, table),
    ``free``, ``mtu``, ``connmark`` (iptables or nftables), ``iptables`` (the executable), ``conf_dir``, ``bin_dir``.
    """
    for eni in config["enis"]:
        leave_eni(eni, config["mtu"])
    run("ip", "rule", "add", "pref", "1024", "fwmark", f"{MARK}/{MARK}", "lookup", "main")
    leave_translation(config["iptables"], config["primary"], config["vpc"])
    if config["connmark"] == "nftables":
        leave_nftables_marks(config["vpc"])
    else:
        leave_iptables_marks(config["iptables"], config["vpc"])
    RUN_DIR.mkdir(parents=True, exist_ok=True)
    (RUN_DIR / "pool.json").write_text(json.dumps({"free": config["free"], "daemon": True}))
    write_checkpoint([])
    bin_dir, conf_dir = Path(config["bin_dir"]), Path(config["conf_dir"])
    executable = bin_dir / NAME
    executable.write_text(f"#!{sys.executable} -IS\n" + Path(__file__).read_text())
    executable.chmod(0o755)
    (conf_dir / "10-aws.conflist").write_text(json.dumps(conflist(config["mtu"]), indent=2))


def leave_eni(eni: dict[str, str], mtu: int) -> None:
    """A secondary ENI: its address with the subnet's mask, its table, no connected route, its rule."""
    ifname, table = eni["ifname"], str(eni["table"])
    run("ip", "link", "set", ifname, "mtu", str(mtu), "up")
    run("ip", "address", "add", eni["address"], "dev", ifname)
    run("ip", "route", "replace", eni["gateway"], "dev", ifname, "scope", "link", "table", table)
    run("ip", "route", "replace", "default", "via", eni["gateway"], "dev", ifname, "table", table)
    run("ip", "route", "del", eni["subnet"], "dev", ifname, check=False)
    run("ip", "rule", "add", "pref", "32765", "from", eni["address"].partition("/")[0], "lookup", table)


def leave_translation(iptables: str, primary: dict[str, str], vpc: list[str]) -> None:
    """Source translation and the marks of what enters by the primary ENI."""
    chain, comment = "AWS-SNAT-CHAIN-0", ("-m", "comment", "--comment")
    nat, mangle = (iptables, "-w", "-t", "nat"), (iptables, "-w", "-t", "mangle", "-A", "PREROUTING")
    run(*nat, "-N", chain)
    run(*nat, "-A", "POSTROUTING", *comment, "AWS SNAT CHAIN", "-j", chain)
    for cidr in vpc:
        run(*nat, "-I", chain, "1", "-d", cidr, *comment, "AWS SNAT CHAIN", "-j", "RETURN")
    outbound = ("!", "-o", "vlan+", *comment, "AWS, SNAT", "-m", "addrtype", "!", "--dst-type", "LOCAL")
    run(*nat, "-A", chain, *outbound, "-j", "SNAT", "--to-source", primary["address"], "--random-fully")
    local = ("-m", "addrtype", "--dst-type", "LOCAL", "--limit-iface-in")
    ours = (*comment, "AWS, primary ENI")
    run(*mangle, "-i", primary["ifname"], *ours, *local, "-j", "CONNMARK", "--set-mark", f"{MARK}/{MARK}")
    run(*mangle, "-i", "eni+", *ours, "-j", "CONNMARK", "--restore-mark", "--mask", MARK)
    run(*mangle, "-i", "vlan+", *ours, "-j", "CONNMARK", "--restore-mark", "--mask", MARK)


def leave_iptables_marks(iptables: str, vpc: list[str]) -> None:
    """Marks of connections that leave the VPC, where its daemon found the legacy iptables."""
    chain, comment = "AWS-CONNMARK-CHAIN-0", ("-m", "comment", "--comment")
    nat = (iptables, "-w", "-t", "nat")
    run(*nat, "-N", chain)
    run(*nat, "-A", "PREROUTING", "-i", "eni+", *comment, "AWS, outbound connections", "-j", chain)
    for cidr in vpc:
        run(*nat, "-I", chain, "1", "-d", cidr, *comment, "AWS CONNMARK CHAIN", "-j", "RETURN")
    run(*nat, "-A", chain, *comment, "AWS, CONNMARK", "-j", "CONNMARK", "--set-xmark", f"{MARK}/{MARK}")
    restore = ("-j", "CONNMARK", "--restore-mark", "--mask", MARK)
    run(*nat, "-A", "PREROUTING", *comment, "AWS, CONNMARK", *restore)


def leave_nftables_marks(vpc: list[str]) -> None:
    """The same where it found nftables: a table of its own."""
    exempt = "".join(f"ip daddr {cidr} return\n" for cidr in vpc)
    run(
        "nft",
        f"""table ip aws-cni {{
          chain snat-mark {{
            {exempt}
            ct mark set ct mark or {MARK}
          }}
          chain nat-prerouting {{
            type nat hook prerouting priority -90; policy accept;
            fib daddr type local return
            iifname "eni*" counter jump snat-mark
            meta mark set ct mark and {MARK}
          }}
        }}""",
    )


def conflist(mtu: int) -> dict[str, Any]:
    """The conflist, without the second plugin, which does nothing in an IPv4 cluster."""
    plugin = {
        "name": NAME,
        "type": NAME,
        "vethPrefix": "eni",
        "mtu": str(mtu),
        "podSGEnforcingMode": "strict",
        "runDir": str(RUN_DIR),
        "capabilities": {"io.kubernetes.cri.pod-annotations": True},
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True}
    return {"cniVersion": "0.4.0", "name": NAME, "disableCheck": True, "plugins": [plugin, portmap]}


def write_checkpoint(allocations: list[dict[str, Any]]) -> None:
    """Writes the checkpoint as a whole, by a draft and a rename."""
    draft = RUN_DIR / "ipam.json.tmp"
    draft.write_text(json.dumps({"version": "vpc-cni-ipam/1", "allocations": allocations}))
    draft.replace(RUN_DIR / "ipam.json")


def allocations() -> list[dict[str, Any]]:
    """What the checkpoint says."""
    found: list[dict[str, Any]] = json.loads((RUN_DIR / "ipam.json").read_text())["allocations"]
    return found


def pod() -> dict[str, str]:
    """The pod in CNI_ARGS."""
    return dict(pair.split("=", 1) for pair in os.environ["CNI_ARGS"].split(";"))


def host_link() -> str:
    """The name of the host's end."""
    name = f"{pod()['K8S_POD_NAMESPACE']}.{pod()['K8S_POD_NAME']}"
    return "eni" + hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()[:11]


def add(conf: dict[str, Any]) -> None:
    """Takes an address, writes the checkpoint, sets the pod up, prints the result."""
    pool = json.loads((RUN_DIR / "pool.json").read_text())
    if not pool["daemon"] or not pool["free"]:
        fail("failed to assign an IP address to container")
    given = pool["free"].pop(0)
    (RUN_DIR / "pool.json").write_text(json.dumps(pool))
    entry = {
        "networkName": conf["name"],
        "containerID": os.environ["CNI_CONTAINERID"],
        "ifName": os.environ["CNI_IFNAME"],
        "ipv4": given["address"],
        "allocationTimestamp": time.time_ns(),
        "metadata": {"k8sPodNamespace": pod()["K8S_POD_NAMESPACE"], "k8sPodName": pod()["K8S_POD_NAME"]},
    }
    write_checkpoint([*allocations(), entry])
    set_up(given["address"], given["table"], conf["mtu"])
    ends = [
        {"name": host_link()},
        {"name": os.environ["CNI_IFNAME"], "mac": str(given["table"]), "sandbox": os.environ["CNI_NETNS"]},
        {"name": host_link().replace("eni", "dummy"), "mac": "0", "sandbox": str(given["device"])},
    ]
    ip = {"version": "4", "address": f"{given['address']}/32", "interface": 1}
    print(json.dumps({"cniVersion": conf["cniVersion"], "interfaces": ends, "ips": [ip], "dns": {}}))


def set_up(address: str, table: int, mtu: str) -> None:
    """A veth with a random MAC, routes and a neighbour in the pod; a route in main and one or two rules on the host."""
    host, ifname = host_link(), os.environ["CNI_IFNAME"]
    inside = ("nsenter", f"--net={os.environ['CNI_NETNS']}")
    run("ip", "link", "del", host, check=False)
    run(*inside, "ip", "link", "add", ifname, "mtu", mtu, "type", "veth", "peer", "name", host, "mtu", mtu)
    run(*inside, "ip", "link", "set", host, "netns", str(os.getpid()))
    run("ip", "link", "set", host, "up")
    mac = json.loads(run("ip", "-j", "link", "show", host))[0]["address"]
    batch = f"""link set {ifname} up
route add 169.254.1.1 dev {ifname} scope link
route add default via 169.254.1.1 dev {ifname}
address add {address}/32 dev {ifname}
neighbour add 169.254.1.1 lladdr {mac} dev {ifname} nud permanent
"""
    subprocess.run([*inside, "ip", "-batch", "-"], input=batch, text=True, check=True)
    run("ip", "route", "replace", address, "dev", host, "scope", "link")
    run("ip", "rule", "add", "pref", "512", "to", address, "lookup", "main")
    if table != 254:
        run("ip", "rule", "add", "pref", "1536", "from", address, "lookup", str(table))


def delete(conf: dict[str, Any]) -> None:
    """Takes a pod down; while the daemon is away from the previous result, and the checkpoint keeps the address."""
    mine = [entry for entry in allocations() if entry["containerID"] == os.environ["CNI_CONTAINERID"]]
    pool = json.loads((RUN_DIR / "pool.json").read_text())
    previous = (conf.get("prevResult") or {}).get("ips") or []
    addresses = [ip["address"].partition("/")[0] for ip in previous] or [entry["ipv4"] for entry in mine]
    for address in addresses:
        run("ip", "rule", "del", "pref", "512", "to", address, check=False)
        run("ip", "rule", "del", "pref", "1536", "from", address, check=False)
        run("ip", "route", "del", address, check=False)
    if pool["daemon"]:
        write_checkpoint([entry for entry in allocations() if entry not in mine])


def fail(message: str) -> None:
    """Ends with a CNI error."""
    print(json.dumps({"cniVersion": "0.4.0", "code": 999, "msg": message}))
    sys.exit(1)


def main() -> None:
    """Acts as a command or as the CNI executable."""
    global RUN_DIR  # noqa: PLW0603  a script that runs once
    if sys.argv[1:2] == ["node"]:
        leave_node(json.loads(Path(sys.argv[2]).read_text()))
        return
    if os.environ["CNI_COMMAND"] == "VERSION":
        print(json.dumps({"cniVersion": "1.0.0", "supportedVersions": ["0.3.1", "0.4.0", "1.0.0"]}))
        return
    conf = json.load(sys.stdin)
    RUN_DIR = Path(conf["runDir"])
    with (RUN_DIR / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        {"ADD": add, "DEL": delete}[os.environ["CNI_COMMAND"]](conf)


if __name__ == "__main__":
    main()
