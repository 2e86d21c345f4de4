"""The laboratory's AWS as the process it runs as: EC2, metadata, control and fabric together."""

import json
import logging
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.config
import botocore.session
import pytest

from eni_lab.cloud import KeyValueFormatter
from eni_testing.hosts import Host

pytestmark = [pytest.mark.netns, pytest.mark.timeout(60)]

EC2 = "http://10.0.255.10:8000"
READ_METADATA = """
import sys, urllib.request as u
ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
root = "http://169.254.169.254/latest/"
token = u.urlopen(u.Request(root + "api/token", method="PUT", headers=ttl), timeout=5).read().decode()
wanted = u.Request(root + "meta-data/" + sys.argv[1], headers={"X-aws-ec2-metadata-token": token})
print(u.urlopen(wanted, timeout=5).read().decode())
"""


class Cloud:
    """The running process, and calls to it from inside its namespace."""

    def __init__(self, host: Host, process: subprocess.Popen[str], state: Path) -> None:
        self.host = host
        self.process = process
        self.state = state

    def ec2(self, method: str, **arguments: object) -> Any:
        return self.host.call(lambda: getattr(_client(), method)(**arguments))

    def control(self, method: str, path: str, body: object = None) -> Any:
        def ask() -> Any:
            data = None if body is None else json.dumps(body).encode()
            with urllib.request.urlopen(urllib.request.Request(EC2 + path, data, method=method), timeout=10) as reply:
                return json.load(reply)

        return self.host.call(ask)

    def run_instance(self) -> tuple[str, str]:
        vpc = self.ec2("create_vpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = self.ec2("create_subnet", VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
        image = self.ec2("describe_images", Filters=[{"Name": "architecture", "Values": ["x86_64"]}])["Images"][0]
        arguments = {"ImageId": image["ImageId"], "InstanceType": "m5.large", "SubnetId": subnet}
        [instance] = self.ec2("run_instances", MinCount=1, MaxCount=1, **arguments)["Instances"]
        return instance["InstanceId"], instance["PrivateIpAddress"]


def _client() -> Any:
    credentials = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    config = botocore.config.Config(proxies={})
    session = botocore.session.get_session()
    return session.create_client("ec2", region_name="us-east-1", endpoint_url=EC2, config=config, **credentials)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Cloud]]:
    """Starts the process with options and returns when it is ready."""
    with Host() as host:
        started: list[subprocess.Popen[str]] = []

        def launch(*options: str) -> Cloud:
            program = [sys.executable, "-m", "eni_lab.cloud", "--state", str(tmp_path), *options]
            process = subprocess.Popen(["nsenter", f"--net={host.path}", *program], stderr=subprocess.PIPE, text=True)
            started.append(process)
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            assert any("ready" in line for line in lines), "the cloud ended before it was ready"
            return Cloud(host, process, tmp_path)

        yield launch
        for process in started:
            process.kill()
            process.communicate()


def test_log_lines_carry_what_they_are_about() -> None:
    record = logging.makeLogRecord({"msg": "link created", "name": "fabric", "levelname": "INFO", "eni": "eni-1"})
    assert KeyValueFormatter("%(levelname)s %(message)s").format(record) == "INFO link created eni=eni-1"


def test_registered_instance_gets_network_and_its_own_metadata(start: Callable[..., Cloud]) -> None:
    cloud = start("--no-service-times")
    instance, address = cloud.run_instance()
    with Host() as node:
        cloud.control("POST", "/_lab/nodes", {"instance": instance, "pid": node.pid})
        assert cloud.host.reaches(address)
        metadata = node.run(["python3", "-c", READ_METADATA, "instance-id"])
        assert metadata.stdout.strip() == instance
        assert [port["instance_id"] for port in cloud.control("GET", "/_lab/fabric")["ports"]] == [instance]
        assert "RunInstances" in json.dumps(cloud.control("GET", "/_lab/calls"))
    assert "PUT /latest/api/token" in (cloud.state / "logs" / "requests.log").read_text()


def test_attachment_shows_in_the_node_after_its_delay_without_being_told(start: Callable[..., Cloud]) -> None:
    cloud = start()
    cloud.control("POST", "/_lab/knobs", {"link_seconds": 0.3})
    instance, _ = cloud.run_instance()
    with Host() as node:
        cloud.control("POST", "/_lab/nodes", {"instance": instance, "pid": node.pid})
        subnet = cloud.ec2("describe_subnets")["Subnets"][0]["SubnetId"]
        eni = cloud.ec2("create_network_interface", SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
        with subprocess.Popen(
            ["nsenter", f"--net={node.path}", "ip", "monitor", "link"], stdout=subprocess.PIPE, text=True
        ) as monitor:
            assert monitor.stdout is not None
            cloud.ec2("attach_network_interface", NetworkInterfaceId=eni, InstanceId=instance, DeviceIndex=1)
            assert any("eth1" in line for line in monitor.stdout)
            monitor.kill()


def test_process_ends_cleanly_when_told_and_nodes_keep_their_links(start: Callable[..., Cloud]) -> None:
    cloud = start("--no-service-times")
    instance, address = cloud.run_instance()
    with Host() as node:
        cloud.control("POST", "/_lab/nodes", {"instance": instance, "pid": node.pid})
        cloud.process.terminate()
        assert cloud.process.wait(timeout=10) == 0
        assert cloud.host.reaches(address)
    started_again = start("--no-service-times")
    assert started_again.control("GET", "/_lab/fabric")["ports"] == []
