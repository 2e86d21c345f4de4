"""Who makes a call, as far as the stand-in tells callers apart: by access key or session, and by user agent."""

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Caller:
    """One caller; ``name`` is an access key id, or the subject of the token the temporary key was given for."""

    name: str
    user_agent: str = ""

    def matches(self, pattern: str) -> bool:
        """Tells whether a shell pattern fits the name or the user agent."""
        return fnmatchcase(self.name, pattern) or fnmatchcase(self.user_agent, pattern)


IN_PROCESS = Caller("in-process")
"""Whoever calls the engine without HTTP: seeds and unit tests."""
