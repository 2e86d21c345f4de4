import pytest
from prometheus_client.parser import text_string_to_metric_families

from eni_crds import vpc_cni_metrics
from eni_crds.vpc_cni_metrics import SHAPES, Sample, dump, family

VPC_CNI = """
    ipamd_error_count ipamd_action_inprogress eni_max ip_max reconcile_count add_ip_req_count del_ip_req_count
    pod_eni_error_count aws_api_latency_ms aws_api_error_count aws_utils_error_count ec2api_req_count
    ec2api_error_count eni_allocated total_ip_addresses assigned_ip_addresses total_ipv4_prefixes force_removed_enis
    force_removed_ips assigned_ip_per_cidr assigned_ip_per_eni no_available_ip_addresses
    ipamd_startup_duration_seconds ipamd_node_initialization_duration_seconds connmark_backend
    connmark_reconcile_total build_info
"""
"""Its names in v1.23.1."""


def test_every_name_of_vpc_cni_is_served_by_somebody() -> None:
    assert set(SHAPES) == set(VPC_CNI.split())
    assert len(SHAPES) == 27
    assert all(shape.served_by for shape in SHAPES.values())


def test_a_counter_keeps_its_name() -> None:
    assert dump([family("add_ip_req_count", Sample((), 3))]).decode().splitlines() == [
        "# HELP awscni_add_ip_req_count ADDs asked for.",
        "# TYPE awscni_add_ip_req_count counter",
        "awscni_add_ip_req_count 3.0",
    ]


def test_a_summary_has_its_parts() -> None:
    labels = ("CreateNetworkInterface", "false", "200")
    text = dump([family("aws_api_latency_ms", Sample(labels, 2.5, "_sum"), Sample(labels, 2, "_count"))]).decode()
    assert text.splitlines()[2:] == [
        'awscni_aws_api_latency_ms_sum{api="CreateNetworkInterface",error="false",status="200"} 2.5',
        'awscni_aws_api_latency_ms_count{api="CreateNetworkInterface",error="false",status="200"} 2.0',
    ]


def test_whatever_a_label_says_can_be_read_again() -> None:
    said = 'quote " backslash and n \\n and a real\nline'
    [read] = text_string_to_metric_families(dump([family("assigned_ip_per_eni", Sample((said,), 1))]).decode())
    assert read.samples[0].labels == {"eni": said}


def test_a_name_that_is_not_vpc_cnis_is_refused() -> None:
    with pytest.raises(KeyError):
        family("eni_maximum", Sample((), 1))


def test_labels_that_are_not_vpc_cnis_are_refused() -> None:
    with pytest.raises(ValueError, match="eni_max has the labels"):
        vpc_cni_metrics.family("eni_max", Sample(("node-a",), 1))
