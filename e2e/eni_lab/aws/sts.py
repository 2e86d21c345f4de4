"""STS as far as a web identity needs it: AssumeRoleWithWebIdentity and GetCallerIdentity.

The token's payload is read, its signature is not checked. Counterpart: ``sessions`` keeps what is given out.
https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html.
"""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

from eni_lab.aws.engine.caller import Caller
from eni_lab.aws.engine.errors import Ec2Error, missing
from eni_lab.aws.engine.model import OWNER_ID
from eni_lab.aws.sessions import SESSION_SECONDS, Sessions

NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
VERSION = "2011-06-15"
ROLE_PREFIX = "arn:aws:iam::"


def assume_role_with_web_identity(form: Mapping[str, str], sessions: Sessions, now: float) -> str:
    """Returns the XML with temporary credentials for the token's subject."""
    for name in ("RoleArn", "RoleSessionName", "WebIdentityToken"):
        if not form.get(name):
            raise missing(name)
    role = form["RoleArn"]
    if not role.startswith(ROLE_PREFIX) or ":role/" not in role:
        raise Ec2Error("ValidationError", f"{role} is invalid")
    subject = subject_of(form["WebIdentityToken"], now)
    issued = sessions.issue(subject, _duration(form.get("DurationSeconds")))
    session = f"{role.rpartition('/')[2]}/{form['RoleSessionName']}"
    credentials = _element("AccessKeyId", issued.access_key) + _element("SecretAccessKey", issued.secret_key)
    expires = datetime.fromtimestamp(issued.expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    credentials += _element("SessionToken", issued.token) + _element("Expiration", expires)
    user = _element("Arn", f"arn:aws:sts::{OWNER_ID}:assumed-role/{session}")
    user += _element("AssumedRoleId", f"AROASTANDIN:{form['RoleSessionName']}")
    result = f"<Credentials>{credentials}</Credentials><AssumedRoleUser>{user}</AssumedRoleUser>"
    return _reply("AssumeRoleWithWebIdentity", result + _element("SubjectFromWebIdentityToken", subject))


def get_caller_identity(caller: Caller) -> str:
    """Returns the XML that names the caller."""
    result = _element("Arn", f"arn:aws:sts::{OWNER_ID}:assumed-role/{caller.name}")
    result += _element("UserId", caller.name) + _element("Account", OWNER_ID)
    return _reply("GetCallerIdentity", result)


def render_error(error: Ec2Error, request_id: str) -> str:
    """Returns the XML of an error, which STS nests otherwise than EC2."""
    inner = _element("Type", "Sender") + _element("Code", error.code) + _element("Message", error.message)
    return (
        f'<ErrorResponse xmlns="{NAMESPACE}"><Error>{inner}</Error><RequestId>{request_id}</RequestId></ErrorResponse>'
    )


def subject_of(token: str, now: float) -> str:
    """Returns ``sub`` of a JSON web token.

    Raises:
        Ec2Error: InvalidIdentityToken for what is no token or has no subject, ExpiredTokenException for an old one.
    """
    claims = _claims(token)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise Ec2Error("InvalidIdentityToken", "Missing a required claim: sub")
    if isinstance(claims.get("exp"), int | float) and claims["exp"] <= now:
        text = f"Token expired: current date/time {int(now)} must be before the expiration date/time {claims['exp']}"
        raise Ec2Error("ExpiredTokenException", text)
    return subject


def _claims(token: str) -> dict[str, Any]:
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, IndexError):
        raise Ec2Error("InvalidIdentityToken", "The ID Token provided is not a valid JWT.") from None
    return claims if isinstance(claims, dict) else {}


def _duration(text: str | None) -> int:
    if text is None:
        return SESSION_SECONDS
    if not text.isdigit() or not 900 <= int(text) <= 43200:
        raise Ec2Error("ValidationError", f"DurationSeconds is {text}, allowed are 900 to 43200")
    return int(text)


def _element(name: str, text: str) -> str:
    return f"<{name}>{escape(text)}</{name}>"


def _reply(action: str, result: str) -> str:
    body = f"<{action}Result>{result}</{action}Result><ResponseMetadata><RequestId>sts</RequestId></ResponseMetadata>"
    return f'<{action}Response xmlns="{NAMESPACE}">{body}</{action}Response>'
