"""Tags: on creation, CreateTags, DeleteTags, DescribeTags, and their rules.

Limits: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eni_lab.aws.engine.errors import Ec2Error, invalid_value
from eni_lab.aws.engine.listing import Filters, select_page
from eni_lab.aws.engine.model import Tags
from eni_lab.aws.engine.region import Args, Region, Reply

MAXIMUM_RESOURCES = 1000


def tag_list(tags: Tags) -> list[dict[str, str]]:
    """Returns tags as EC2 lists them."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def tags_on_create(region: Region, args: Args, resource_type: str, *, others: Sequence[str] = ()) -> dict[str, str]:
    """Returns the tags a creating call gives to one kind of resource.

    Args:
        region: for the quota.
        args: the request.
        resource_type: such as ``network-interface``.
        others: further kinds the same call may tag.
    """
    tags: dict[str, str] = {}
    for specification in args.get("TagSpecifications", []):
        kind = specification.get("ResourceType", "")
        if kind != resource_type and kind not in others:
            raise invalid_value(f"'{kind}' is not a valid taggable resource type for this operation.")
        if kind == resource_type:
            tags |= _from_request(specification.get("Tags", []))
    _check_quota(region, tags)
    return tags


def create_tags(region: Region, args: Args) -> Reply:
    """Adds or overwrites tags on up to 1,000 resources, all or none."""
    new = _from_request(args["Tags"])
    resources = args["Resources"]
    if len(resources) > MAXIMUM_RESOURCES:
        raise invalid_value(f"The number of resources is {len(resources)}, at most {MAXIMUM_RESOURCES} may be tagged.")
    tagged = {key: {**_tags_of(region, key), **new} for key in resources}
    for tags in tagged.values():
        _check_quota(region, tags)
    for key, tags in tagged.items():
        _set_tags(region, key, tags)
    return {}


def delete_tags(region: Region, args: Args) -> Reply:
    """Removes tags: all without ``Tags``; a tag given with a value only when the value is the same."""
    for key in args["Resources"]:
        tags = _tags_of(region, key)
        doomed = args.get("Tags")
        if doomed is None:
            kept = {k: v for k, v in tags.items() if k.startswith("aws:")}
        else:
            kept = {k: v for k, v in tags.items() if not any(_means(tag, k, v) for tag in doomed)}
        _set_tags(region, key, kept)
    return {}


def describe_tags(region: Region, args: Args) -> Reply:
    """Lists tags of all resources."""
    rows = {f"{tag.resource_id}/{tag.key}": tag for tag in _all_tags(region)}
    page, token = select_page(region, args, rows, _FILTERS)
    return {"Tags": [tag.view() for tag in page], "NextToken": token}


@dataclass(frozen=True, slots=True)
class _Tag:
    resource_id: str
    resource_type: str
    key: str
    value: str

    def view(self) -> dict[str, str]:
        return {
            "ResourceId": self.resource_id,
            "ResourceType": self.resource_type,
            "Key": self.key,
            "Value": self.value,
        }


_FILTERS: Filters[_Tag] = {
    "key": lambda tag: tag.key,
    "value": lambda tag: tag.value,
    "resource-id": lambda tag: tag.resource_id,
    "resource-type": lambda tag: tag.resource_type,
}


def _means(tag: Mapping[str, str], key: str, value: str) -> bool:
    return tag.get("Key") == key and tag.get("Value", value) == value


def _from_request(tags: Sequence[Mapping[str, str]]) -> dict[str, str]:
    for tag in tags:
        key, value = tag.get("Key", ""), tag.get("Value", "")
        if not 1 <= len(key) <= 128:
            raise invalid_value(f"Tag key '{key}' must have between 1 and 128 characters.")
        if key.startswith("aws:"):
            raise invalid_value("Tag keys starting with 'aws:' are reserved for internal use")
        if len(value) > 256:
            raise invalid_value(f"The value of tag '{key}' has {len(value)} characters, at most 256 are allowed.")
    return {tag["Key"]: tag.get("Value", "") for tag in tags}


def _check_quota(region: Region, tags: Tags) -> None:
    if sum(not key.startswith("aws:") for key in tags) > region.knobs.tag_quota:
        raise Ec2Error("TagLimitExceeded", "The maximum number of Tags for a resource has been reached.")


def _tags_of(region: Region, key: str) -> Tags:
    if key.startswith("eni-"):
        return region.eni(key).tags
    found = _find(region, key)
    if found is None:
        raise Ec2Error("InvalidID", f"The ID '{key}' is not valid")
    return found[1].tags  # type: ignore[no-any-return]


def _set_tags(region: Region, key: str, tags: Tags) -> None:
    found = _find(region, key)
    assert found is not None
    table, value = found
    table.put(key, replace(value, tags=tags))


def _find(region: Region, key: str) -> tuple[Any, Any] | None:
    for _, table in _tables(region):
        value = table.get(key)
        if value is not None:
            return table, value
    return None


def _tables(region: Region) -> tuple[tuple[str, Any], ...]:
    return (
        ("network-interface", region.enis),
        ("instance", region.instances),
        ("subnet", region.subnets),
        ("security-group", region.groups),
        ("vpc", region.vpcs),
        ("subnet-cidr-reservation", region.reservations),
    )


def _all_tags(region: Region) -> Iterator[_Tag]:
    for kind, table in _tables(region):
        for resource in table.as_of(region.seen).values():
            for key, value in resource.tags.items():
                yield _Tag(resource.id, kind, key, value)
