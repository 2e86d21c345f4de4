"""Takes secrets out of text before it leaves the node. Pure.

Decides what counts as one: values whose name says so, forms that only credentials have, and the very values the caller
knows to be secret. Rather too much is left out than too little; what is collected holds none to begin with, so this is
the second lock, for what somebody else has put into a log, a conflist or a URL.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

LEFT_OUT: Final = "[left out]"
SHORTEST: Final = 6
"""A shorter secret value is not looked for as such: it would be found in everything."""
_WORDS: Final = (
    r"(?:token|passw(?:or)?d|passphrase|secret|credential|private[_\-]?key|key[_\-]data|access[_\-]?key|api[_\-]?key|"
    r"authorization|cookie)"
)
_NAME: Final = re.compile(_WORDS, re.IGNORECASE)
_REST: Final = r"[\w.\-]{0,64}"
_QUOTE: Final = r"\\*[\"']"
_NAMED: Final = re.compile(
    # "clientSecret": "...", also inside JSON that is a string of JSON; or secret=... and token: ... without quotes.
    # What stands before the word is no part of the match: looking for its begin would take a long line's square.
    rf"({_WORDS}{_REST}(?:{_QUOTE})?\s*[:=]\s*)({_QUOTE})(.*?)(?<!\\)(?:\\\\)*(?=\2)"
    rf"|({_WORDS}{_REST}\s*[:=]\s*)([^\s\"',;}}]+)",
    re.IGNORECASE,
)
_FORMS: Final = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"\beyJ[\w\-]{8,}\.[\w\-]+\.[\w\-]*"),  # JSON web tokens, service accounts' among them
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),  # AWS access key ids
    re.compile(r"(?<=bearer )[\w.~+/=\-]{8,}|(?<=basic )[\w.~+/=\-]{8,}", re.IGNORECASE),
    re.compile(r"(?<=://)[^/\s@\"']+(?=@)"),  # user and password of a URL
)


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """Returns the text without secrets; ``secrets`` are left out wherever they stand."""
    for secret in sorted((each for each in secrets if len(each) >= SHORTEST), key=len, reverse=True):
        text = text.replace(secret, LEFT_OUT)
    for form in _FORMS:
        text = form.sub(LEFT_OUT, text)
    return _NAMED.sub(_without_value, text)


def is_secret_name(name: str) -> bool:
    """Tells whether a variable's or field's name says that its value is secret."""
    return _NAME.search(name) is not None


def secrets_in(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the values of variables whose names say that they are secret."""
    return tuple(value for name, value in environ.items() if is_secret_name(name))


def _without_value(match: re.Match[str]) -> str:
    quoted_name, quote, _, plain_name, _ = match.groups()
    return f"{quoted_name}{quote}{LEFT_OUT}" if quoted_name else f"{plain_name}{LEFT_OUT}"
