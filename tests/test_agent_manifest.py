"""What deploy/base/agent.yaml lets the agent do: two capabilities, nothing more, and no file system but its own."""

from pathlib import Path
from typing import Any

import yaml

MANIFEST = Path(__file__).parents[1] / "deploy/base/agent.yaml"
SPEC: dict[str, Any] = yaml.safe_load(MANIFEST.read_text())["spec"]["template"]["spec"]
(AGENT,) = SPEC["containers"]


def test_the_agent_has_two_capabilities_and_cannot_gain_more() -> None:
    assert AGENT["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "seccompProfile": {"type": "RuntimeDefault"},
        "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "SYS_ADMIN"]},
    }


def test_the_settings_of_the_node_that_it_repairs_are_mounted_where_it_writes_them() -> None:
    environ = {variable["name"]: variable.get("value") for variable in AGENT["env"]}
    mounts = {mount["name"]: mount for mount in AGENT["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in SPEC["volumes"]}
    assert mounts["sysctls"] == {"name": "sysctls", "mountPath": f"{environ['ENI_PROC_SYS']}/net"}
    assert volumes["sysctls"]["hostPath"]["path"] == "/proc/sys/net"


def test_only_the_init_container_is_privileged() -> None:
    assert SPEC["hostNetwork"] is True
    assert {key for key in ("hostPID", "hostIPC") if SPEC.get(key)} == set()
    (install,) = SPEC["initContainers"]
    assert install["securityContext"] == {"privileged": True}
