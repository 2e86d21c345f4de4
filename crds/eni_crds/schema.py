"""Generates the CustomResourceDefinitions from the models: ``python -m eni_crds.schema DIRECTORY``.

Decides how a type becomes a structural schema (https://kubernetes.io/docs/tasks/extend-kubernetes/
custom-resources/custom-resource-definitions/), which rules the API server checks, and which columns kubectl shows.
Does not install anything. Counterpart: ``crds/*.yaml``, checked in; a test fails when they differ.
"""

import ast
import json
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from inspect import cleandoc, getdoc, getsource
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import NODEFAULT, inspect

from eni_crds import names
from eni_crds.contract import Contract
from eni_crds.eniconfig import ENIConfigSpec, ENIConfigStatus
from eni_crds.nodeippool import NodeIPPoolSpec, NodeIPPoolStatus

Schema = dict[str, Any]

ATOMIC = {"x-kubernetes-map-type": "atomic"}
"""One writer owns the whole map: 1.5 KB of managedFields in place of 53 KB for 15 ENIs of 49 addresses."""


def _not_above(low: str, high: str) -> Schema:
    """Returns the CEL rule that refuses ``low`` above ``high``."""
    return {
        "rule": f"!has(self.{low}) || !has(self.{high}) || self.{low} <= self.{high}",
        "message": f"{low} must not be above {high}",
        "fieldPath": f".{low}",
    }


POLICY_RULES = [
    _not_above("minimumIPs", "maximumIPs"),
    _not_above("minimumIPs", "maximumPods"),
    _not_above("warmENIs", "maximumENIs"),
]

POOL_COLUMNS = [
    ("Mode", "string", ".status.supply.policy.mode.value", 0),
    ("ENIs", "integer", ".status.supply.totals.enis", 0),
    ("Prefixes", "integer", ".status.supply.totals.prefixes", 0),
    ("Total", "integer", ".status.supply.totals.addresses", 0),
    ("Used", "integer", ".status.usage.assigned", 0),
    ("Free", "integer", ".status.usage.free", 0),
    ("Cooling", "integer", ".status.usage.cooling", 0),
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 0),
    ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("Instance", "string", ".status.supply.instance.id", 1),
    ("Type", "string", ".status.supply.instance.type", 1),
    ("Zone", "string", ".status.supply.instance.zone", 1),
    ("ENIConfig", "string", ".status.supply.eniConfig", 1),
    ("Wanted", "integer", ".status.supply.wanted", 1),
]
ENICONFIG_COLUMNS = [
    ("Nodes", "integer", ".status.nodes", 0),
    ("Subnets", "integer", ".status.subnetCount", 0),
    ("Free", "integer", ".status.free", 0),
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 0),
    ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    ("Subnet", "string", ".spec.subnet", 1),
]
ENICONFIG_RULES = [
    {
        "rule": "!has(self.subnet) || !has(self.subnets)",
        "message": "subnet and subnets exclude each other: put the one id into subnets.ids",
        "fieldPath": ".subnet",
    },
    {
        "rule": "!has(self.subnets) || !has(self.subnets.ids) || !has(self.subnets.tags)",
        "message": "subnets.ids and subnets.tags exclude each other",
        "fieldPath": ".subnets",
    },
    {
        "rule": (
            f"!has(self.tags) || self.tags.all(key, !key.contains('{names.TAG_RESERVED}') && "
            f"key != '{names.TAG_FORBIDDEN}' && !key.startsWith('aws:'))"
        ),
        "message": f"tags must have no key of AWS's own: none with {names.TAG_RESERVED}, {names.TAG_FORBIDDEN} or aws:",
        "fieldPath": ".tags",
    },
]


def structural(model: type[Contract]) -> Schema:
    """Returns the model's schema without references, titles or nulls, as the API server demands."""
    return _schema(inspect.type_info(model))


def _schema(kind: inspect.Type) -> Schema:
    match kind:
        case inspect.StructType():
            return _object(kind)
        case inspect.UnionType():
            return _either([each for each in kind.types if not isinstance(each, inspect.NoneType)])
        case inspect.Metadata():
            return _schema(kind.type) | (kind.extra_json_schema or {})
        case inspect.ListType():
            return {"type": "array", **_limits(maxItems=kind.max_length), "items": _schema(kind.item_type)}
        case inspect.DictType():
            return {"type": "object", **_limits(maxProperties=kind.max_length), **_values(kind.value_type)}
        case _:
            return _scalar(kind)


def _scalar(kind: inspect.Type) -> Schema:
    match kind:
        case inspect.EnumType():
            return {"description": getdoc(kind.cls), "type": "string", "enum": [each.value for each in kind.cls]}
        case inspect.DateTimeType():
            return {"type": "string", "format": "date-time"}
        case inspect.StrType():
            return {"type": "string", **_limits(pattern=kind.pattern, maxLength=kind.max_length)}
        case inspect.IntType():
            return {"type": "integer", **_limits(minimum=kind.ge, maximum=kind.le)}
        case inspect.BoolType():
            return {"type": "boolean"}
        case _:
            raise TypeError(f"{kind} has no place in a definition")


def _object(struct: inspect.StructType) -> Schema:
    said = _field_docstrings(struct.cls)
    properties = {}
    for field in struct.fields:
        schema = _schema(field.type)
        description = said.get(field.name) or schema.get("description")
        head = {} if description is None else {"description": description}
        properties[field.encode_name] = {**head, **schema, **head, **_default(field)}
    required = [field.encode_name for field in struct.fields if field.required]
    shape = {"type": "object", "properties": properties}
    return {"description": getdoc(struct.cls), **shape, **({"required": required} if required else {})}


def _default(field: inspect.Field) -> Schema:
    """Returns the default, where it is told: an absent part means the same as an empty one."""
    default = field.default if field.default_factory is NODEFAULT else field.default_factory()
    is_told = default is not NODEFAULT and default not in (None, [], {}) and not isinstance(default, Contract)
    return {"default": default} if is_told else {}


def _either(branches: Sequence[inspect.Type]) -> Schema:
    """Returns the schema of the only branch, or Kubernetes' own type of what is a number or a name."""
    if {type(each) for each in branches} == {inspect.IntType, inspect.StrType}:
        return {"x-kubernetes-int-or-string": True}
    (only,) = branches
    return _schema(only)


def _values(kind: inspect.Type) -> Schema:
    if isinstance(kind, inspect.AnyType):
        return {"x-kubernetes-preserve-unknown-fields": True}
    return {"additionalProperties": _schema(kind)}


def _limits(**limits: int | str | None) -> Schema:
    return {name: value for name, value in limits.items() if value is not None}


def _field_docstrings(model: type) -> dict[str, str]:
    """Returns what is said of each field in the string below it."""
    body = ast.parse(textwrap.dedent(getsource(model))).body[0]
    assert isinstance(body, ast.ClassDef)
    said = {}
    for field, text in pairwise(body.body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                said[name] = cleandoc(words)
    return said


def _column(name: str, kind: str, path: str, priority: int) -> Schema:
    return {"name": name, "type": kind, "jsonPath": path, "priority": priority}


class Kind(NamedTuple):
    """What a definition needs besides its schema."""

    group: str
    version: str
    name: str
    plural: str
    short: str
    columns: Sequence[tuple[str, str, str, int]]


def _definition(kind: Kind, body: Schema) -> Schema:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {
            "group": kind.group,
            "scope": "Cluster",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [kind.short],
            },
            "versions": [
                {
                    "name": kind.version,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(*column) for column in kind.columns],
                    "schema": {"openAPIV3Schema": body},
                }
            ],
        },
    }


def _body(description: str, spec: Schema, status: Schema) -> Schema:
    status["properties"]["conditions"] |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    return {
        "type": "object",
        "description": description,
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }


POOL = Kind(names.POOL_GROUP, names.POOL_VERSION, names.POOL_KIND, names.POOL_PLURAL, "nip", POOL_COLUMNS)
ENICONFIG = Kind(
    names.ENICONFIG_GROUP,
    names.ENICONFIG_VERSION,
    names.ENICONFIG_KIND,
    names.ENICONFIG_PLURAL,
    "eniconfig",
    ENICONFIG_COLUMNS,
)


def nodeippool() -> Schema:
    """Returns the definition of NodeIPPool."""
    spec, status = structural(NodeIPPoolSpec), structural(NodeIPPoolStatus)
    spec["properties"]["policy"]["x-kubernetes-validations"] = POLICY_RULES
    spec["properties"]["families"] |= {"x-kubernetes-list-type": "set", "maxItems": 2}
    for part in ("supply", "usage"):
        status["properties"][part] |= ATOMIC
    body = _body("The pool of pod addresses of one node, named after it.", spec, status)
    return _definition(POOL, body)


def eniconfig() -> Schema:
    """Returns the definition of ENIConfig: unknown fields of other implementations are kept."""
    spec, status = structural(ENIConfigSpec), structural(ENIConfigStatus)
    spec["properties"]["policy"]["x-kubernetes-validations"] = POLICY_RULES
    spec["x-kubernetes-preserve-unknown-fields"] = True
    spec["x-kubernetes-validations"] = ENICONFIG_RULES
    status["properties"]["subnets"] |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"]}
    body = _body("Where a group of nodes takes its ENIs from.", spec, status)
    return _definition(ENICONFIG, body)


FILES: Mapping[str, Callable[[], Schema]] = {"nodeippools.yaml": nodeippool, "eniconfigs.yaml": eniconfig}


def to_yaml(value: Any, indent: int = 0) -> str:
    """Returns block YAML of plain JSON values; scalars are written as JSON, which YAML 1.2 contains."""
    space = "  " * indent
    if isinstance(value, dict) and value:
        return "".join(f"{space}{key}:{_nested(item, indent)}" for key, item in value.items())
    if isinstance(value, list) and value:
        return "".join(_item(item, indent) for item in value)
    return f"{space}{json.dumps(value)}\n"


def _nested(value: Any, indent: int) -> str:
    if isinstance(value, dict | list) and value:
        return "\n" + to_yaml(value, indent + 1)
    return f" {json.dumps(value)}\n"


def _item(value: Any, indent: int) -> str:
    text = to_yaml(value, indent + 1)
    return "  " * indent + "- " + text[2 * (indent + 1) :]


def main() -> None:
    """Writes every definition into the directory given."""
    directory = Path(sys.argv[1])
    for name, definition in FILES.items():
        (directory / name).write_text(
            f"# Generated from eni_crds by `make crds`; edit the models.\n{to_yaml(definition())}"
        )


if __name__ == "__main__":
    main()
