"""Whatever is called in whatever order, every address has one owner and every pool's count is right."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from eni_lab.aws.engine.errors import Ec2Error
from eni_lab.aws.engine.invariants import breaches
from eni_lab.aws.engine.knobs import Knobs
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


class Life(RuleBasedStateMachine):
    """Small subnets (59 and 27 addresses), so that they run out."""

    @initialize(choice=CHOICES, seed=st.integers(0, 3))
    def start(self, choice: Any, seed: int) -> None:
        knobs = Knobs(throttling=False, address_choice=choice, describe_lag_seconds=1.0)
        self.lab = EngineLab("10.0.1.0/26", "10.0.2.0/27", knobs=knobs, seed=seed)
        self.attachments: list[str] = []

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

    def eni(self, data: Any) -> Any:
        """Draws one of the ENIs there are."""
        return data.draw(st.sampled_from(self.lab.engine.region.enis.values()))

    def has_enis(self) -> bool:
        """Tells whether there is an ENI to draw."""
        return len(self.lab.engine.region.enis) > 0

    @rule(subnet=st.sampled_from((0, 1)), addresses=COUNTS, prefixes=st.integers(0, 3))
    def create(self, subnet: int, addresses: int, prefixes: int) -> None:
        held = {"SecondaryPrivateIpAddressCount": addresses} if addresses else {"Ipv4PrefixCount": prefixes}
        self.attempt("CreateNetworkInterface", SubnetId=self.lab.seed.subnet_ids[subnet], **held)

    @rule(kind=st.sampled_from(TYPES), subnet=st.sampled_from((0, 1)))
    def launch(self, kind: str, subnet: int) -> None:
        image, subnet_id = "ami-0a0000000000000a1", self.lab.seed.subnet_ids[subnet]
        counts = {"MinCount": 1, "MaxCount": 2}
        self.attempt("RunInstances", ImageId=image, InstanceType=kind, SubnetId=subnet_id, **counts)

    @precondition(has_enis)
    @rule(data=st.data(), index=st.integers(0, 4))
    def attach(self, data: Any, index: int) -> None:
        instances = self.lab.engine.region.instances.values()
        if instances:
            instance = data.draw(st.sampled_from(instances))
            eni = self.eni(data)
            request = {"NetworkInterfaceId": eni.id, "InstanceId": instance.id, "DeviceIndex": index}
            self.attempt("AttachNetworkInterface", **request)

    @precondition(has_enis)
    @rule(data=st.data())
    def detach(self, data: Any) -> None:
        eni = self.eni(data)
        if eni.attachment is not None:
            self.attempt("DetachNetworkInterface", AttachmentId=eni.attachment.id)

    @precondition(has_enis)
    @rule(data=st.data(), addresses=COUNTS, prefixes=st.integers(1, 3))
    def assign(self, data: Any, addresses: int, prefixes: int) -> None:
        held = {"SecondaryPrivateIpAddressCount": addresses} if addresses else {"Ipv4PrefixCount": prefixes}
        self.attempt("AssignPrivateIpAddresses", NetworkInterfaceId=self.eni(data).id, **held)

    @precondition(has_enis)
    @rule(data=st.data())
    def take_over(self, data: Any) -> None:
        giver, taker = self.eni(data), self.eni(data)
        if giver.addresses and giver.subnet_id == taker.subnet_id and giver.id != taker.id:
            request = {"PrivateIpAddresses": list(giver.addresses[:1]), "AllowReassignment": True}
            self.attempt("AssignPrivateIpAddresses", NetworkInterfaceId=taker.id, **request)

    @precondition(has_enis)
    @rule(data=st.data())
    def unassign(self, data: Any) -> None:
        eni = self.eni(data)
        if eni.addresses or eni.prefixes:
            held = {"PrivateIpAddresses": list(eni.addresses[::2]), "Ipv4Prefixes": list(eni.prefixes[:1])}
            self.attempt("UnassignPrivateIpAddresses", NetworkInterfaceId=eni.id, **held)

    @precondition(has_enis)
    @rule(data=st.data())
    def delete(self, data: Any) -> None:
        self.attempt("DeleteNetworkInterface", NetworkInterfaceId=self.eni(data).id)

    @rule(data=st.data())
    def terminate(self, data: Any) -> None:
        instances = self.lab.engine.region.instances.values()
        if instances:
            self.attempt("TerminateInstances", InstanceIds=[data.draw(st.sampled_from(instances)).id])

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
    def describing_can_always_be_done(self) -> None:
        if hasattr(self, "lab"):
            for action in ("DescribeNetworkInterfaces", "DescribeInstances", "DescribeSubnets"):
                self.lab.engine.call(action, {})


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
