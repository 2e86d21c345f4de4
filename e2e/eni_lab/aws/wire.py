"""EC2's query protocol, both ways, driven by botocore's service model: forms in, XML out.

Parsers and writers are made once per shape. Knows no action's meaning. Counterpart: ``http`` carries it.
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/Query-Requests.html.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

import botocore.loaders
import botocore.model

from eni_lab.aws.engine.errors import Ec2Error, missing

VERSION = "2016-11-15"

Shape = Any
"""A botocore shape; botocore ships no types."""

_PROTOCOL_FIELDS = {"Action", "Version", "AWSAccessKeyId"}


@cache
def service_model() -> Any:
    """Returns botocore's model of EC2."""
    loader = botocore.loaders.Loader()
    return botocore.model.ServiceModel(loader.load_service_model("ec2", "service-2"), "ec2")


def parse_request(body: str) -> tuple[str, dict[str, Any]]:
    """Returns action and parameters of a form.

    Raises:
        Ec2Error: MissingAction, InvalidAction, UnknownParameter, MissingParameter or InvalidParameterValue.
    """
    form = dict(parse_qsl(body, keep_blank_values=True))
    action = form.get("Action", "")
    if not action:
        raise Ec2Error("MissingAction", "The request must contain the parameter Action")
    if action not in service_model().operation_names:
        raise Ec2Error("InvalidAction", f"The action {action} is not valid for this web service.")
    fields = {key: form[key] for key in form if key not in _PROTOCOL_FIELDS and not key.startswith("X-Amz-")}
    shape = service_model().operation_model(action).input_shape
    args: dict[str, Any] = _parser(shape)(_tree(fields)) if shape is not None else {}
    for member in shape.required_members if shape is not None else ():
        if member not in args:
            raise missing(member)
    return action, args


def render_reply(action: str, reply: Mapping[str, Any], request_id: str) -> str:
    """Returns the XML of an answer."""
    shape = service_model().operation_model(action).output_shape
    out = [f'<?xml version="1.0" encoding="UTF-8"?>\n<{action}Response ']
    out.append(f'xmlns="http://ec2.amazonaws.com/doc/{VERSION}/"><requestId>{request_id}</requestId>')
    if shape is not None:
        _writer(shape)(reply, out)
    else:
        out.append("<return>true</return>")
    out.append(f"</{action}Response>")
    return "".join(out)


def render_error(error: Ec2Error, request_id: str) -> str:
    """Returns the XML of an error."""
    inner = f"<Error><Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message></Error>"
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return f"{head}<Response><Errors>{inner}</Errors><RequestID>{request_id}</RequestID></Response>"


# --- reading


def _tree(fields: Mapping[str, str]) -> dict[str, Any]:
    """Folds ``Filter.1.Name=x`` into nested dictionaries."""
    root: dict[str, Any] = {}
    for key, value in fields.items():
        *path, leaf = key.split(".")
        node = root
        for part in path:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise Ec2Error("MalformedQueryString", f"The parameter {key} is a value and a structure at once.")
        node[leaf] = value
    return root


def _input_name(member: str, shape: Shape) -> str:
    """Returns a member's name in forms: queryName, else the capitalised locationName, else its own."""
    serialization = shape.serialization
    if "queryName" in serialization:
        return str(serialization["queryName"])
    name = serialization.get("name", "")
    return name[0].upper() + name[1:] if name else member


@cache
def _parser(shape: Shape) -> Callable[[Any], Any]:
    if shape.type_name == "structure":
        return _structure_parser(shape)
    if shape.type_name == "list":
        return _list_parser(shape)
    return _scalar_parser(shape)


def _structure_parser(shape: Shape) -> Callable[[Any], Any]:
    members = {_input_name(member, inner): (member, inner) for member, inner in shape.members.items()}

    def parse(tree: Any) -> dict[str, Any]:
        if not isinstance(tree, dict):
            raise Ec2Error("MalformedQueryString", f"A structure {shape.name} was expected, a value was given.")
        unknown = sorted(set(tree) - set(members))
        if unknown:
            raise Ec2Error("UnknownParameter", f"The parameter {unknown[0]} is not recognized")
        return {members[name][0]: _parser(members[name][1])(value) for name, value in tree.items()}

    return parse


def _list_parser(shape: Shape) -> Callable[[Any], Any]:
    def parse(tree: Any) -> list[Any]:
        if not isinstance(tree, dict) or not all(key.isdigit() for key in tree):
            raise Ec2Error("MalformedQueryString", f"A numbered list {shape.name} was expected.")
        return [_parser(shape.member)(tree[key]) for key in sorted(tree, key=int)]

    return parse


def _boolean(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _time(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


_SCALARS: Mapping[str, Callable[[str], Any]] = {
    "integer": int,
    "long": int,
    "float": float,
    "double": float,
    "boolean": _boolean,
    "timestamp": _time,
}


def _scalar_parser(shape: Shape) -> Callable[[Any], Any]:
    convert = _SCALARS.get(shape.type_name, str)

    def parse(text: Any) -> Any:
        try:
            return convert(text)
        except (ValueError, KeyError, AttributeError, TypeError):
            expected = f"It must be of type {shape.type_name}."
            raise Ec2Error("InvalidParameterValue", f"Value ({text}) is invalid. {expected}") from None

    return parse


# --- writing


@cache
def _writer(shape: Shape) -> Callable[[Any, list[str]], None]:
    if shape.type_name == "structure":
        return _structure_writer(shape)
    if shape.type_name == "list":
        return _list_writer(shape)
    return lambda value, out: out.append(_text(value))


def _structure_writer(shape: Shape) -> Callable[[Any, list[str]], None]:
    members = {member: (inner.serialization.get("name", member), inner) for member, inner in shape.members.items()}

    def write(value: Mapping[str, Any], out: list[str]) -> None:
        for member, content in value.items():
            if content is None:
                continue
            tag, inner = members[member]
            out.append(f"<{tag}>")
            _writer(inner)(content, out)
            out.append(f"</{tag}>")

    return write


def _list_writer(shape: Shape) -> Callable[[Any, list[str]], None]:
    tag = shape.member.serialization.get("name", "item")

    def write(value: Any, out: list[str]) -> None:
        write_item = _writer(shape.member)
        for item in value:
            out.append(f"<{tag}>")
            write_item(item, out)
            out.append(f"</{tag}>")

    return write


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return escape(str(value))
