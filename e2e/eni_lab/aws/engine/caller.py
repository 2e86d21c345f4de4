"""Who makes a call, as far as the stand-in tells callers apart: by access key or session, user agent and address."""

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Caller:
    """One caller; ``name`` is an access key id, or the subject of the token the temporary key was given for."""

    name: str
    user_agent: str = ""
    address: str = ""
    """Where the request came from: the one thing that tells the operators of two nodes apart."""

    def matches(self, pattern: str) -> bool:
        """Tells whether a shell pattern fits the name, the user agent or the address."""
        return any(fnmatchcase(text, pattern) for text in (self.name, self.user_agent, self.address))


IN_PROCESS = Caller("in-process")
"""Whoever calls the engine without HTTP: seeds and unit tests."""
