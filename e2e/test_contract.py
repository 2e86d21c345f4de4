"""The API server refuses bad input by itself, naming the field and what is allowed, and takes what VPC CNI takes."""

import json
from collections.abc import Iterator

import pytest

from eni_lab.errors import LabError
from eni_lab.lab import Lab

pytestmark = pytest.mark.e2e

POOL = {"apiVersion": "eni-operator.io/v1alpha1", "kind": "NodeIPPool", "metadata": {"name": "contract-test"}}
ENICONFIG = {"apiVersion": "crd.k8s.amazonaws.com/v1alpha1", "kind": "ENIConfig", "metadata": {"name": "contract-test"}}


@pytest.fixture
def cluster(deployed: Lab) -> Iterator[Lab]:
    yield deployed
    for kind in ("nodeippool", "eniconfig"):
        deployed.kubectl("delete", kind, "contract-test", "--ignore-not-found")


def apply(lab: Lab, manifest: dict[str, object], *arguments: str) -> str:
    return lab.kubectl("apply", "--server-side", *arguments, "-f", "-", stdin=json.dumps(manifest))


@pytest.mark.parametrize(
    ("policy", "field", "allowed"),
    [
        pytest.param({"mode": "prefixes"}, "spec.policy.mode", '"secondary", "prefix", "auto"', id="unknown mode"),
        pytest.param({"warmIPs": -1}, "spec.policy.warmIPs", "greater than or equal to 0", id="negative target"),
        pytest.param({"maximumENIs": 0}, "spec.policy.maximumENIs", "greater than or equal to 1", id="no ENI at all"),
        pytest.param(
            {"minimumIPs": 5, "maximumIPs": 3},
            "spec.policy.minimumIPs",
            "minimumIPs must not be above maximumIPs",
            id="minimum above maximum",
        ),
        pytest.param(
            {"warmENIs": 4, "maximumENIs": 3},
            "spec.policy.warmENIs",
            "warmENIs must not be above maximumENIs",
            id="more warm ENIs than ENIs",
        ),
        pytest.param({"warmips": 3}, "spec.policy.warmips", "not declared", id="misspelt field"),
    ],
)
def test_a_pool_with_a_bad_policy_is_refused(cluster: Lab, policy: dict[str, object], field: str, allowed: str) -> None:
    with pytest.raises(LabError) as refusal:
        apply(cluster, {**POOL, "spec": {"policy": policy}})
    assert field in str(refusal.value)
    assert allowed in str(refusal.value)
    assert cluster.kubectl("get", "nip", "contract-test", "--ignore-not-found") == ""


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        pytest.param({"subnet": "subnet-1"}, "spec.subnet", id="malformed subnet"),
        pytest.param({"securityGroups": ["group"]}, "spec.securityGroups[0]", id="malformed security group"),
    ],
)
def test_an_eniconfig_with_malformed_ids_is_refused(cluster: Lab, spec: dict[str, object], field: str) -> None:
    with pytest.raises(LabError) as refusal:
        apply(cluster, {**ENICONFIG, "spec": spec})
    assert field in str(refusal.value)
    assert "should match" in str(refusal.value)


def test_a_malformed_cidr_is_refused(cluster: Lab) -> None:
    apply(cluster, {**POOL, "spec": {}})
    supply = {
        "instance": {"id": "i-1", "type": "m5.large", "zone": "z", "vpcID": "vpc-1"},
        "limits": {"enis": 3, "addressesPerENI": 10, "maximumPods": 29},
        "vpcCIDRs": ["10.0.0.0/33"],
        "wanted": 0,
        "totals": {},
    }
    with pytest.raises(LabError, match="must be of type cidr"):
        apply(cluster, {**POOL, "status": {"supply": supply}}, "--subresource=status")


def test_vpc_cnis_own_manifest_is_taken_unchanged(cluster: Lab) -> None:
    spec = {"subnet": "subnet-0123456789abcdef0", "securityGroups": ["sg-0123456789abcdef0"], "somebodyElses": {"a": 1}}
    apply(cluster, {**ENICONFIG, "spec": spec})
    stored = json.loads(cluster.kubectl("get", "eniconfig", "contract-test", "-o", "json"))["spec"]
    assert stored == spec


def test_an_edited_policy_shows_in_the_object(cluster: Lab) -> None:
    apply(cluster, {**POOL, "spec": {"policy": {"mode": "prefix", "warmPrefixes": 1}}})
    columns = cluster.kubectl("get", "nip", "contract-test", "-o", "wide").splitlines()[0].split()
    assert columns == (
        "NAME MODE ENIS PREFIXES TOTAL USED FREE COOLING READY REASON AGE INSTANCE TYPE ZONE ENICONFIG WANTED".split()
    )
