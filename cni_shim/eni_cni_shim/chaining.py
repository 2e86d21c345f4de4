"""Our result behind that of the plugins before us: what ADD answers where it was given a ``prevResult``. Pure.

Decides how the two become one. That there is one, and that it can be read, is ``spec``'s to say. Source: the CNI
specification, "Section 5: Result Types": who is given a ``prevResult`` must output it with its own changes included.
"""

import json
from collections.abc import Mapping
from typing import Any


def append(previous: Mapping[str, Any], result: bytes) -> bytes:
    """Returns the earlier result with ours after it, in the shape of our version; what we do not know of it is kept.

    Before ours came, ``ips[].interface`` counted from our first interface; it counts from theirs now.
    """
    ours: dict[str, Any] = json.loads(result)
    theirs = list(previous.get("interfaces") or [])
    addresses = [_moved(address, len(theirs)) for address in ours["ips"]]
    whole = {
        **previous,
        "cniVersion": ours["cniVersion"],
        "interfaces": [*theirs, *ours["interfaces"]],
        "ips": [*(previous.get("ips") or []), *addresses],
        "routes": [*(previous.get("routes") or []), *ours["routes"]],
        "dns": previous.get("dns") or ours["dns"],
    }
    return json.dumps(whole, separators=(",", ":")).encode()


def _moved(address: dict[str, Any], by: int) -> dict[str, Any]:
    return {**address, "interface": address["interface"] + by} if "interface" in address else address
