"""The instance metadata service, version 2, of whichever instance a request comes from.

Paths and status codes: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html and
configuring-instance-metadata-service.html. Hop limits are the fabric's business; ``metadata`` makes the tree.
"""

import json
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from aiohttp import web

from eni_lab.aws.engine.engine import Engine
from eni_lab.aws.engine.images import IMAGES
from eni_lab.aws.engine.model import OWNER_ID, Instance
from eni_lab.aws.metadata import metadata_tree
from eni_lab.aws.sessions import Sessions

TTL_HEADER = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN_HEADER = "X-aws-ec2-metadata-token"  # noqa: S105, the name of a header
LONGEST_TTL = 21600

InstanceOf = Callable[[web.Request], str | None]
"""Tells from which instance a request comes; None when from none."""


class MetadataService:
    """IMDSv2 for all instances of an engine."""

    def __init__(self, engine: Engine, sessions: Sessions, instance_of: InstanceOf) -> None:
        self._engine = engine
        self._sessions = sessions
        self._instance_of = instance_of
        self._tokens: dict[str, tuple[str, float]] = {}

    def add_routes(self, app: web.Application, prefix: str = "") -> None:
        """Adds the service to an application, under a path prefix."""
        app.router.add_put(prefix + "/latest/api/token", self.issue_token)
        app.router.add_get(prefix + "/latest/meta-data", self.answer)
        app.router.add_get(prefix + "/latest/meta-data/{path:.*}", self.answer)
        app.router.add_get(prefix + "/latest/dynamic/{dynamic:.*}", self.answer)

    async def issue_token(self, request: web.Request) -> web.Response:
        """Gives out a session token: 400 for a bad TTL, 403 through a proxy or when IMDS is off."""
        instance = self._instance(request)
        if "X-Forwarded-For" in request.headers or instance.metadata.endpoint != "enabled":
            raise web.HTTPForbidden
        ttl = request.headers.get(TTL_HEADER, "")
        if not ttl.isdecimal() or not 1 <= int(ttl) <= LONGEST_TTL:
            raise web.HTTPBadRequest
        token = secrets.token_urlsafe(42)
        self._tokens[token] = (instance.id, self._engine.clock() + int(ttl))
        return web.Response(text=token, headers={TTL_HEADER: ttl})

    async def answer(self, request: web.Request) -> web.Response:
        """Answers one item or one listing: 401 without a valid token, 404 for what is not there."""
        instance = self._instance(request)
        if instance.metadata.endpoint != "enabled":
            raise web.HTTPForbidden
        ttl = self._check_token(request, instance)
        headers = {TTL_HEADER: str(ttl)} if ttl is not None else {}
        text = self._find(request, instance)
        if text is None:
            raise web.HTTPNotFound
        return web.Response(text=text, headers=headers)

    def _instance(self, request: web.Request) -> Instance:
        instance_id = self._instance_of(request)
        instance = self._engine.region.instances.get(instance_id) if instance_id is not None else None
        if instance is None:
            raise web.HTTPNotFound
        return instance

    def _check_token(self, request: web.Request, instance: Instance) -> int | None:
        token = request.headers.get(TOKEN_HEADER)
        if token is None and instance.metadata.tokens == "optional":
            return None
        owner, expires = self._tokens.get(token or "", ("", 0.0))
        remaining = expires - self._engine.clock()
        if owner != instance.id or remaining <= 0:
            raise web.HTTPUnauthorized
        return int(remaining)

    def _find(self, request: web.Request, instance: Instance) -> str | None:
        if "dynamic" in request.match_info:
            document = self._identity_document(instance)
            return look_up({"instance-identity/document": document}, request.match_info["dynamic"])
        tree, path = metadata_tree(self._engine.region, instance), request.match_info.get("path", "")
        if instance.role:
            credentials = "iam/security-credentials/" + instance.role
            tree[credentials] = self._credentials(instance) if path == credentials else ""
        return look_up(tree, path)

    def _credentials(self, instance: Instance) -> str:
        issued = self._sessions.issue(f"{instance.role}/{instance.id}")
        return json.dumps(
            {
                "Code": "Success",
                "Type": "AWS-HMAC",
                "LastUpdated": _iso(self._engine.clock()),
                "AccessKeyId": issued.access_key,
                "SecretAccessKey": issued.secret_key,
                "Token": issued.token,
                "Expiration": _iso(issued.expires),
            }
        )

    def _identity_document(self, instance: Instance) -> str:
        region = self._engine.region
        return json.dumps(
            {
                "accountId": OWNER_ID,
                "architecture": IMAGES[instance.image_id].architecture,
                "availabilityZone": region.subnet(instance.subnet_id).zone,
                "imageId": instance.image_id,
                "instanceId": instance.id,
                "instanceType": instance.type,
                "pendingTime": _iso(instance.launched),
                "privateIp": instance.private_ip,
                "region": region.knobs.region,
                "version": "2017-09-30",
            }
        )


def look_up(tree: Mapping[str, str], path: str) -> str | None:
    """Returns an item, or the listing of a folder with a slash behind each folder in it, or None."""
    if path in tree:
        return tree[path]
    folder = path.rstrip("/") + "/" if path else ""
    below = (key.removeprefix(folder).partition("/") for key in tree if key.startswith(folder))
    names = sorted({name + slash for name, slash, _ in below})
    return "\n".join(names) or None


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
