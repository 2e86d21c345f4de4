"""Whatever is called in whatever order, every address has one owner and every pool's count is right."""

from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from eni_lab.aws.engine.errors import Ec2Error
from eni_lab.aws.engine.invariants import breaches
from eni_lab.aws.engine.knobs import Knobs
from eni_lab.aws.engine.model import Eni, Instance, InstanceState
from eni_testing.ec2_engine import EngineLab

EXPECTED = {
    "AttachmentLimitExceeded",
    "IncorrectState",
    "InsufficientCidrBlocks",
    "InsufficientFreeAddressesInSubnet",
    "InvalidNetworkInterface.InUse",
    "InvalidParameterCombination",
    "InvalidParameterValue",
    "OperationNotPermitted",
    "PrivateIpAddressLimitExceeded",
}
TYPES = ("t3.medium", "m4.large", "m5.large", "m5.metal")
COUNTS = st.integers(0, 12)
CHOICES = st.sampled_from(("random", "packed"))


def has_enis(machine: "Life") -> bool:
    """Tells whether there is an ENI to draw."""
    return len(machine.lab.engine.region.enis) > 0


class Life(RuleBasedStateMachine):
    """Small subnets (59 and 27 addresses), so that they run out."""

    @initialize(choice=CHOICES, seed=st.integers(0, 3))
    def start(self, choice: Any, seed: int) -> None:
        knobs = Knobs(throttling=False, address_choice=choice, describe_lag_seconds=1.0)
        self.lab = EngineLab("10.0.1.0/26", "10.0.2.0/27", knobs=knobs, seed=seed)
        for kind, subnet in (("t3.medium", 0), ("m5.large", 0), ("m5.large", 1)):
            self.lab.instance(kind, subnet)
            self.lab.eni(subnet)

    def attempt(self, action: str, **args: Any) -> Any:
        """Performs a call; a refusal of an expected kind changes nothing and is fine."""
        before = self.lab.engine.version
        try:
            return self.lab.engine.call(action, args)
        except Ec2Error as error:
            refusal = error
        assert refusal.code in EXPECTED
        assert self.lab.engine.version == before
        return None

    def enis(self, *, attached: bool) -> list[Eni]:
        """Returns the ENIs but for the primary ones, which hardly anything may be done to."""
        enis = self.lab.engine.region.enis.values()
        secondary = [eni for eni in enis if eni.attachment is None or not eni.attachment.is_primary]
        return [eni for eni in secondary if (eni.attachment is not None) is attached]

    def any_eni(self, data: Any) -> Eni:
        """Draws an ENI, a secondary one more often than not."""
        enis = [*self.enis(attached=False), *self.enis(attached=True)] or self.lab.engine.region.enis.values()
        return cast("Eni", data.draw(st.sampled_from(enis)))

    def running(self) -> list[Instance]:
        """Returns the instances that run."""
        instances = self.lab.engine.region.instances.values()
        return [instance for instance in instances if instance.state is InstanceState.RUNNING]

    @rule(subnet=st.sampled_from((0, 1)), addresses=COUNTS, prefixes=st.integers(0, 3))
    def create(self, subnet: int, addresses: int, prefixes: int) -> None:
        held = {"SecondaryPrivateIpAddressCount": addresses} if addresses else {"Ipv4PrefixCount": prefixes}
        self.attempt("CreateNetworkInterface", SubnetId=self.lab.seed.subnet_ids[subnet], **held)

    @rule(kind=st.sampled_from(TYPES), subnet=st.sampled_from((0, 1)))
    def launch(self, kind: str, subnet: int) -> None:
        image, subnet_id = "ami-0a0000000000000a1", self.lab.seed.subnet_ids[subnet]
        counts = {"MinCount": 1, "MaxCount": 2}
        self.attempt("RunInstances", ImageId=image, InstanceType=kind, SubnetId=subnet_id, **counts)

    @precondition(lambda self: self.enis(attached=False) and self.running())
    @rule(data=st.data(), index=st.integers(0, 3))
    def attach(self, data: Any, index: int) -> None:
        eni, instance = (
            data.draw(st.sampled_from(self.enis(attached=False))),
            data.draw(st.sampled_from(self.running())),
        )
        request = {"NetworkInterfaceId": eni.id, "InstanceId": instance.id, "DeviceIndex": index}
        self.attempt("AttachNetworkInterface", **request)

    @precondition(lambda self: self.enis(attached=True))
    @rule(data=st.data())
    def detach(self, data: Any) -> None:
        eni = data.draw(st.sampled_from(self.enis(attached=True)))
        assert eni.attachment is not None
        self.attempt("DetachNetworkInterface", AttachmentId=eni.attachment.id)

    @precondition(has_enis)
    @rule(data=st.data(), addresses=COUNTS, prefixes=st.integers(1, 3))
    def assign(self, data: Any, addresses: int, prefixes: int) -> None:
        held = {"SecondaryPrivateIpAddressCount": addresses} if addresses else {"Ipv4PrefixCount": prefixes}
        self.attempt("AssignPrivateIpAddresses", NetworkInterfaceId=self.any_eni(data).id, **held)

    @precondition(has_enis)
    @rule(data=st.data())
    def take_over(self, data: Any) -> None:
        giver, taker = self.any_eni(data), self.any_eni(data)
        if giver.addresses and giver.subnet_id == taker.subnet_id and giver.id != taker.id:
            request = {"PrivateIpAddresses": list(giver.addresses[:1]), "AllowReassignment": True}
            self.attempt("AssignPrivateIpAddresses", NetworkInterfaceId=taker.id, **request)

    @precondition(has_enis)
    @rule(data=st.data())
    def unassign(self, data: Any) -> None:
        eni = self.any_eni(data)
        if eni.addresses or eni.prefixes:
            held = {"PrivateIpAddresses": list(eni.addresses[::2]), "Ipv4Prefixes": list(eni.prefixes[:1])}
            self.attempt("UnassignPrivateIpAddresses", NetworkInterfaceId=eni.id, **held)

    @precondition(has_enis)
    @rule(data=st.data())
    def delete(self, data: Any) -> None:
        self.attempt("DeleteNetworkInterface", NetworkInterfaceId=self.any_eni(data).id)

    @precondition(lambda self: len(self.running()) > 1)
    @rule(data=st.data())
    def terminate(self, data: Any) -> None:
        self.attempt("TerminateInstances", InstanceIds=[data.draw(st.sampled_from(self.running())).id])

    @rule(seconds=st.sampled_from((0.3, 0.8, 2.0, 60.0)))
    def wait(self, seconds: float) -> None:
        self.lab.now += seconds

    @invariant()
    def nothing_is_broken(self) -> None:
        if hasattr(self, "lab"):
            assert breaches(self.lab.engine.region) == []

    @invariant()
    def every_port_is_of_an_attached_eni_of_a_living_instance(self) -> None:
        if not hasattr(self, "lab"):
            return
        region = self.lab.engine.region
        for port in self.lab.engine.ports():
            eni, instance = region.enis.get(port.eni_id), region.instances.get(port.instance_id)
            assert eni is not None
            assert eni.attachment is not None
            assert instance is not None
            assert (port.addresses, port.prefixes, port.primary_ip) == (eni.addresses, eni.prefixes, eni.primary_ip)

    @invariant()
    def what_is_found_by_instance_is_what_a_look_at_everything_finds(self) -> None:
        if not hasattr(self, "lab"):
            return
        everything = self.described()
        for instance in self.lab.engine.region.instances.values():
            found = self.described({"Name": "attachment.instance-id", "Values": [instance.id]})
            assert found == [eni for eni in everything if (eni["Attachment"] or {}).get("InstanceId") == instance.id]

    def described(self, *filters: dict[str, Any]) -> Any:
        return self.lab.engine.call("DescribeNetworkInterfaces", {"Filters": list(filters)})["NetworkInterfaces"]

    @invariant()
    def describing_can_always_be_done(self) -> None:
        if hasattr(self, "lab"):
            for action in ("DescribeNetworkInterfaces", "DescribeInstances", "DescribeSubnets"):
                self.lab.engine.call(action, {})


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
