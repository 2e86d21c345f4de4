"""How to reach the API server: in the cluster by the service account, outside by a kubeconfig.

Decides server, trust and credential; used by the REST client (``controllers.kube_client``) and by the watches' session
(``controllers.watches``), which re-read the token through it for every request, so that its rotation goes unnoticed.
"""

import ssl
from collections.abc import Mapping
from typing import Any

from kubernetes_asyncio.client.configuration import Configuration
from kubernetes_asyncio.config.incluster_config import load_incluster_config
from kubernetes_asyncio.config.kube_config import load_kube_config


async def load(environ: Mapping[str, str], cluster_endpoint: str = "") -> Any:
    """Returns kubernetes_asyncio's Configuration; ``cluster_endpoint`` replaces the server's address.

    Raises kubernetes_asyncio's ConfigException when there is neither a service account nor a kubeconfig.
    """
    configuration = Configuration()
    if "KUBERNETES_SERVICE_HOST" in environ:
        load_incluster_config(client_configuration=configuration)
    else:
        await load_kube_config(client_configuration=configuration)
    if cluster_endpoint:
        scheme = "" if "://" in cluster_endpoint else "https://"
        configuration.host = f"{scheme}{cluster_endpoint}".rstrip("/")
    return configuration


def tls(configuration: Any) -> ssl.SSLContext | bool:
    """Returns the trust for a session of our own; True (the default) where the server speaks plain HTTP."""
    if not configuration.host.startswith("https"):
        return True
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    return context


async def authorization(configuration: Any) -> str | None:
    """Returns the header's value as it is now; None where a certificate speaks for us."""
    value: str | None = await configuration.get_api_key_with_prefix("BearerToken")
    return value
