from prometheus_client.parser import text_string_to_metric_families

from eni_node_agent.metrics.families import Family, Sample, dump


def test_a_counter_keeps_its_name() -> None:
    text = dump([Family("awscni_add_ip_req_count", "counter", "ADDs.", (Sample({}, 3),))])
    assert text.decode().splitlines() == [
        "# HELP awscni_add_ip_req_count ADDs.",
        "# TYPE awscni_add_ip_req_count counter",
        "awscni_add_ip_req_count 3.0",
    ]


def test_a_summary_has_its_parts() -> None:
    samples = (Sample({"api": "A"}, 2.5, "_sum"), Sample({"api": "A"}, 2, "_count"))
    lines = dump([Family("x", "summary", "X.", samples)]).decode().splitlines()
    assert lines[2:] == ['x_sum{api="A"} 2.5', 'x_count{api="A"} 2.0']


def test_whatever_a_label_says_can_be_read_again() -> None:
    said = 'quote " backslash \\ and\nline'
    [family] = text_string_to_metric_families(
        dump([Family("x", "gauge", "a\\b\nc", (Sample({"l": said}, 1),))]).decode()
    )
    assert family.samples[0].labels == {"l": said}
