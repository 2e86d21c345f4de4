"""What EC2 has for an instance, by the engine itself, and where a pool's status says otherwise."""

from collections.abc import Iterator

from eni_crds.names import TAG_INSTANCE
from eni_crds.nodeippool import SERVING_ROLES, EniState, Supply, SupplyEni
from eni_lab.aws.engine.engine import Engine
from eni_lab.aws.engine.model import AttachmentState, Eni
from eni_testing.memory_agent import addresses_of

_ROUTED = (AttachmentState.ATTACHING, AttachmentState.ATTACHED)


def enis_of(engine: Engine, instance_id: str) -> list[Eni]:
    """Returns the ENIs attached to an instance."""
    return [e for e in engine.region.enis.values() if e.attachment and e.attachment.instance_id == instance_id]


def routed_to(engine: Engine, instance_id: str) -> set[str]:
    """Returns the pod addresses EC2 routes to an instance now, IPv6 ones as their prefix."""
    owned: set[str] = set()
    for eni in enis_of(engine, instance_id):
        if eni.attachment is not None and eni.attachment.state(engine.region.now) in _ROUTED:
            owned.update(eni.addresses, eni.ipv6_prefixes, *map(addresses_of, eni.prefixes))
    return owned


def leaked(engine: Engine, instance_id: str) -> list[str]:
    """Returns ENIs of ours that belong to nothing, and attached ones that would outlive the instance."""
    ours = [eni for eni in engine.region.enis.values() if eni.tags.get(TAG_INSTANCE) == instance_id]
    loose = [eni.id for eni in ours if eni.attachment is None]
    return loose + [e.id for e in ours if e.attachment is not None and not e.attachment.delete_on_termination]


def differences(supply: Supply, engine: Engine, instance_id: str) -> Iterator[str]:
    """Yields a sentence for each thing in which a supply is not what EC2 has."""
    said = {eni.id: eni for eni in supply.enis}
    there = {eni.id: eni for eni in enis_of(engine, instance_id)}
    for eni_id in sorted(said.keys() ^ there.keys()):
        yield f"{eni_id} is in {'supply' if eni_id in said else 'EC2'} only"
    for eni_id in sorted(said.keys() & there.keys()):
        ours, theirs = _told(said[eni_id]), _found(there[eni_id], serving=said[eni_id].role in SERVING_ROLES)
        if ours != theirs:
            yield f"{eni_id} is {ours} in supply and {theirs} in EC2"
    serving = [there[eni.id] for eni in supply.enis if eni.role in SERVING_ROLES and eni.id in there]
    held = sum(len(eni.addresses) + 16 * len(eni.prefixes) for eni in serving)
    if supply.totals.addresses != held:
        yield f"supply counts {supply.totals.addresses} addresses, EC2 has {held}"


def _told(eni: SupplyEni) -> dict[str, object]:
    return {
        "index": (eni.network_card, eni.device_index),
        "subnet": eni.subnet_id,
        "groups": sorted(eni.security_groups),
        "addresses": sorted(eni.addresses),
        "prefixes": sorted(eni.prefixes),
        "ipv6": sorted(eni.ipv6_prefixes),
        "is attached": eni.state is EniState.ATTACHED,
    }


def _found(eni: Eni, *, serving: bool) -> dict[str, object]:
    assert eni.attachment is not None
    return {
        "index": (eni.attachment.network_card, eni.attachment.device_index),
        "subnet": eni.subnet_id,
        "groups": sorted(eni.groups),
        "addresses": sorted(eni.addresses) if serving else [],
        "prefixes": sorted(eni.prefixes) if serving else [],
        "ipv6": sorted(eni.ipv6_prefixes) if serving else [],
        "is attached": eni.attachment.detached_at is None,
    }
