"""A type that neither EC2 nor the built-in table knows serves pods on day one: refusals tell the loop what fits."""

import pytest

from eni_operator.inventory import instance_types
from eni_testing.operator_node import OperatorNode


@pytest.mark.parametrize(
    ("instance_type", "pods"),
    [("m5.large", 5), ("m5.large", 27), ("c5.4xlarge", 100)],
    ids=["few pods", "as many as it can address", "several ENIs"],
)
async def test_a_type_nobody_knows_serves_its_pods_and_leaks_nothing(
    monkeypatch: pytest.MonkeyPatch, instance_type: str, pods: int
) -> None:
    monkeypatch.setattr(instance_types, "built_in_limits", lambda _type: None)
    node = OperatorNode(instance_type)
    node.refuse["DescribeInstanceTypes"] = ("InvalidInstanceType", "The instance type does not exist.", 400)
    node.agent.want(pods)
    for _ in range(200):
        await node.step()
    assert node.agent.pending == 0
    assert node.leaked() == []
    assert node.kube.condition("Ready")["status"] == "True"
    refused = len([call for call in node.calls if call.startswith(("Assign", "Attach", "Create"))])
    assert refused < 40, "a limit that is learnt is not tried over and over"
