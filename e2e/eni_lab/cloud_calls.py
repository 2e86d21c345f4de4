"""Calls to the laboratory's cloud from inside its network: EC2 by botocore, and the control endpoints.

Asked under a caller name of its own (``eni-lab``), so that the product's calls can be counted apart.
Counterpart: ``eni_lab.cloud`` answers.
"""

import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import botocore.config
import botocore.exceptions
import botocore.session

from eni_lab.errors import LabError
from eni_lab.fabric.namespaces import enter
from eni_lab.kube.addresses import CLOUD_URL
from eni_lab.vpc_layout import REGION
from eni_lab.waiting import wait_for

ADMINISTRATOR = "eni-lab"
"""Access key, and so the name of the caller, of the laboratory itself."""


class CloudCalls:
    """EC2 and the control endpoints, called from a thread inside the laboratory's network."""

    def __init__(self, pid: int) -> None:
        """``pid`` is a process in that network."""
        self._thread = ThreadPoolExecutor(1, "cloud-client", enter, (f"/proc/{pid}/ns/net",))
        self._client: Any = None

    def ec2(self, method: str, **arguments: object) -> Any:
        """Calls EC2 by botocore's method name, such as ``describe_instances``; its reply.

        Raises:
            LabError: EC2 refused, or nobody answers.
        """
        try:
            return self._thread.submit(lambda: getattr(self._ec2(), method)(**arguments)).result()
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            raise LabError(str(error)) from error

    def control(self, method: str, path: str, body: object = None) -> Any:
        """Calls a control endpoint, such as ``GET /_lab/calls``; its reply.

        Raises:
            LabError: the endpoint refused, or nobody answers.
        """
        return self._thread.submit(_request, method, path, body).result()

    def close(self) -> None:
        """Closes connections and ends the thread."""
        if self._client is not None:
            self._thread.submit(self._client.close).result()
        self._thread.shutdown()

    def wait_until_up(self, seconds: float = 30) -> None:
        """Until the endpoint answers."""

        def answers() -> bool:
            try:
                self.control("GET", "/_lab/calls")
            except LabError:
                return False
            return True

        wait_for("the cloud answers", answers, seconds=seconds, interval=0.05)

    def _ec2(self) -> Any:
        if self._client is None:
            self._client = botocore.session.get_session().create_client(
                "ec2",
                region_name=REGION,
                endpoint_url=CLOUD_URL,
                aws_access_key_id=ADMINISTRATOR,
                aws_secret_access_key="eni-lab",  # noqa: S106 - the stand-in checks no signature
                config=botocore.config.Config(user_agent=ADMINISTRATOR, proxies={}),
            )
        return self._client


def _request(method: str, path: str, body: object) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310 - always http, to the laboratory's own address
        CLOUD_URL + path, data, {"Content-Type": "application/json"}, method=method
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=10) as reply:
            text = reply.read()
    except urllib.error.HTTPError as error:
        raise LabError(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from error
    except OSError as error:
        raise LabError(f"{method} {path}: {error}") from error
    return json.loads(text) if text else None
