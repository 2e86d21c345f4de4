"""Generates the CustomResourceDefinitions from the models: ``python -m eni_crds.schema DIRECTORY``.

Decides how a pydantic model becomes a structural schema (https://kubernetes.io/docs/tasks/extend-kubernetes/
custom-resources/custom-resource-definitions/), which rules the API server checks, and which columns kubectl shows.
Does not install anything. Counterpart: ``crds/*.yaml``, checked in; a test fails when they differ.
"""

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from eni_crds import names
from eni_crds.eniconfig import ENIConfigSpec, ENIConfigStatus
from eni_crds.nodeippool import NodeIPPoolSpec, NodeIPPoolStatus

Schema = dict[str, Any]

KEPT = (
    "description",
    "type",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "enum",
    "default",
    "maxItems",
    "maxLength",
    "maxProperties",
    "x-kubernetes-int-or-string",
)
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


def structural(model: type[BaseModel]) -> Schema:
    """Returns the model's schema without references, titles or nulls, as the API server demands."""
    whole = model.model_json_schema(by_alias=True, mode="validation", schema_generator=_Described)
    return _flatten(whole, whole.get("$defs", {}))


class _Described(GenerateJsonSchema):
    """Takes a field's description from the string below it.

    pydantic can do so itself, but would then read and parse the sources of every model in every daemon.
    """

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        described = super().model_schema(schema)
        for alias, text in _field_docstrings(schema["cls"]).items():
            if alias in described.get("properties", {}):
                described["properties"][alias].setdefault("description", text)
        return described


def _field_docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Returns what is said of each field, by its name on the wire."""
    body = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    assert isinstance(body, ast.ClassDef)
    said = {}
    for field, text in pairwise(body.body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                said[model.model_fields[name].alias or name] = inspect.cleandoc(words)
    return said


def _flatten(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Schema:
    schema = _resolve(schema, definitions)
    flat: Schema = {key: schema[key] for key in KEPT if schema.get(key) is not None}
    if schema.get("additionalProperties") not in (None, False, True):
        flat["additionalProperties"] = _flatten(schema["additionalProperties"], definitions)
    if schema.get("additionalProperties") is True:
        flat["x-kubernetes-preserve-unknown-fields"] = True
    if "properties" in schema:
        flat["properties"] = {name: _flatten(value, definitions) for name, value in schema["properties"].items()}
        if schema.get("required"):
            flat["required"] = schema["required"]
    if "items" in schema:
        flat["items"] = _flatten(schema["items"], definitions)
    if flat.get("default") == [] or isinstance(flat.get("default"), dict):
        del flat["default"]  # an absent part means the same as an empty one
    return flat


def _resolve(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Follows a reference, and takes the only branch of ``X | None`` that is not null."""
    own = {key: value for key, value in schema.items() if key not in ("$ref", "anyOf")}
    if "$ref" in schema:
        return {**_resolve(definitions[schema["$ref"].rpartition("/")[2]], definitions), **own}
    branches = [branch for branch in schema.get("anyOf", ()) if branch.get("type") != "null"]
    if {branch.get("type") for branch in branches} == {"integer", "string"}:
        return {**own, "x-kubernetes-int-or-string": True}
    if branches:
        return {**_resolve(branches[0], definitions), **own}
    return own


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
