"""ADDITIONAL_ENI_TAGS: which of the tags people ask for a new ENI gets.

Decides by key and value alone. Does not add the tags that make an ENI ours (``controllers.world``), and does not count:
EC2 allows 50 tags in all, and an ENIConfig may bring more of them.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from eni_crds.names import TAG_FORBIDDEN, TAG_RESERVED
from eni_operator.settings.reader import Reader

VARIABLE: Final = "ADDITIONAL_ENI_TAGS"
LONGEST_KEY: Final = 128
LONGEST_VALUE: Final = 256
"""https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions"""


def additional(reader: Reader) -> Mapping[str, str]:
    """Returns the tags EC2 will take and we may set; a warning for each of the others."""
    kept = {}
    for key, value in (reader.lenient(VARIABLE, _object_of_strings) or {}).items():
        if reason := _refusal(key, value):
            reader.warn(f"{VARIABLE}: the tag {key!r} is dropped: {reason}")
        else:
            kept[key] = value
    return kept


def _refusal(key: str, value: str) -> str:
    if TAG_RESERVED in key:
        return f"keys that contain {TAG_RESERVED} are Kubernetes' and EKS's own"
    if key == TAG_FORBIDDEN:
        return "AWS's resource controller deletes available ENIs that bear it"
    if key.lower().startswith("aws:"):
        return "keys that begin with aws: are AWS's own"
    if not 1 <= len(key) <= LONGEST_KEY:
        return f"a key has 1 to {LONGEST_KEY} characters, this one {len(key)}"
    if len(value) > LONGEST_VALUE:
        return f"a value has at most {LONGEST_VALUE} characters, this one {len(value)}"
    return ""


def _object_of_strings(text: str) -> dict[str, str]:
    allowed = "it must be a JSON object of strings"
    try:
        tags: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(allowed) from None
    if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
        raise ValueError(allowed)
    return tags
