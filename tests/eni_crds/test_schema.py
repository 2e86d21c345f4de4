"""The checked-in definitions are what the models say, and the models read what the API server stores."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from eni_crds import schema
from eni_crds.contract import ContractError
from eni_crds.eniconfig import ENIConfig
from eni_crds.nodeippool import NodeIPPool, NodeIPPoolSpec, NodeIPPoolStatus

CRDS = Path(__file__).parents[2] / "crds"


@pytest.mark.parametrize("name", sorted(schema.FILES))
def test_checked_in_definition_equals_the_generated_one(name: str) -> None:
    assert yaml.safe_load((CRDS / name).read_text()) == schema.FILES[name](), "run `make crds`"


@pytest.mark.parametrize("name", sorted(schema.FILES))
def test_schema_is_structural(name: str) -> None:
    """Every node has a type (or says that it may be two), and nothing refers elsewhere."""

    def walk(node: dict[str, Any]) -> None:
        assert "$ref" not in node
        assert "anyOf" not in node
        assert "type" in node or node.get("x-kubernetes-int-or-string"), node
        for child in node.get("properties", {}).values():
            walk(child)
        for key in ("items", "additionalProperties"):
            if key in node:
                walk(node[key])

    walk(schema.FILES[name]()["spec"]["versions"][0]["schema"]["openAPIV3Schema"])


def test_every_printer_column_points_at_a_field_of_the_schema() -> None:
    version = schema.nodeippool()["spec"]["versions"][0]
    body = version["schema"]["openAPIV3Schema"]
    for column in version["additionalPrinterColumns"]:
        path = column["jsonPath"].lstrip(".").split(".")
        if path[0] == "metadata" or "conditions[" in column["jsonPath"]:
            continue
        node = body
        for name in path:
            node = node["properties"][name] if name in node.get("properties", {}) else node["additionalProperties"]
        assert node.get("type") == column["type"] or node.get("x-kubernetes-int-or-string"), column


def test_supply_and_usage_are_owned_whole() -> None:
    """Granular ownership of 15 ENIs would cost 53 KB of managedFields."""
    status = schema.structural(NodeIPPoolStatus)
    body = schema.nodeippool()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    assert {"supply", "usage"} <= set(status["properties"])
    assert all(body["properties"][part]["x-kubernetes-map-type"] == "atomic" for part in ("supply", "usage"))


def test_conditions_have_one_writer_each() -> None:
    body = schema.nodeippool()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    conditions = body["properties"]["conditions"]
    assert (conditions["x-kubernetes-list-type"], conditions["x-kubernetes-list-map-keys"]) == ("map", ["type"])


def test_an_empty_object_is_a_whole_pool() -> None:
    pool = NodeIPPool.parse({"metadata": {"name": "node-a1"}})
    assert pool.spec == NodeIPPoolSpec()
    assert pool.status.supply is None


def test_names_on_the_wire_are_camel_case_with_whole_acronyms() -> None:
    spec = NodeIPPoolSpec.parse({"policy": {"warmIPs": 3, "maximumENIs": 2}})
    assert spec.dump()["policy"] == {"warmIPs": 3, "maximumENIs": 2}


@pytest.mark.parametrize(
    ("field", "value"),
    [("mode", "prefixes"), ("warmIPs", -1), ("maximumENIs", 0), ("cooldownSeconds", -5)],
)
def test_policy_refuses_what_the_api_server_refuses(field: str, value: object) -> None:
    with pytest.raises(ContractError, match=field):
        NodeIPPoolSpec.parse({"policy": {field: value}})


def test_a_manifest_of_vpc_cni_is_an_eniconfig() -> None:
    text = """
    apiVersion: crd.k8s.amazonaws.com/v1alpha1
    kind: ENIConfig
    metadata: {name: us-east-1a}
    spec:
      securityGroups: [sg-0123456789abcdef0]
      subnet: subnet-0123456789abcdef0
    """
    config = ENIConfig.parse(yaml.safe_load(text))
    assert (config.spec.subnet, config.spec.security_groups) == ("subnet-0123456789abcdef0", ["sg-0123456789abcdef0"])


@pytest.mark.parametrize(
    "spec", [{"subnet": "subnet-xyz"}, {"securityGroups": ["sg-1"]}], ids=["malformed subnet", "malformed group"]
)
def test_eniconfig_refuses_malformed_ids(spec: dict[str, Any]) -> None:
    with pytest.raises(ContractError, match="matching regex"):
        ENIConfig.parse({"spec": spec})
