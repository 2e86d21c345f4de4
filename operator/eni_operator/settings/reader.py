"""Reads variables one by one and gathers what is wrong with them.

Decides nothing about any one variable. Empty is as if not set, everywhere. A lenient variable may be read more than
once (for its value and for a combination rule): what is wrong with it is told once.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

from eni_operator.settings.parsing import boolean

Value = TypeVar("Value")


class SettingsError(Exception):
    """One or more settings are wrong; the message has a line for each."""


class Reader:
    """An environment, what has been read of it, the problems (the process cannot start) and the warnings."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._known: set[str] = set()
        self.problems: list[str] = []
        self.warnings: list[str] = []

    def raw(self, name: str) -> str:
        """Returns the value as it stands; empty when not set."""
        self._known.add(name)
        return self._environ.get(name) or ""

    def text(self, name: str) -> str:
        """Returns the value without blanks around it; empty when not set."""
        return self.raw(name).strip()

    def required(self, name: str, meaning: str) -> str:
        """Returns the value; to be without it is a problem."""
        value = self.text(name)
        if not value:
            self.refuse(f"{name} must be set: {meaning}")
        return value

    def strict(self, name: str, parse: Callable[[str], Value], default: Value) -> Value:
        """Reads a variable whose bad value is a problem: one of ours, or one VPC CNI is strict about."""
        text = self.raw(name)
        if not text:
            return default
        try:
            return parse(text)
        except ValueError as error:
            self.refuse(f"{name}={text!r} is wrong: {error}")
            return default

    def lenient(self, name: str, parse: Callable[[str], Value]) -> Value | None:
        """Reads one of VPC CNI's variables; None when not set, and for a bad value, which is a warning."""
        text = self.raw(name)
        if not text:
            return None
        try:
            return parse(text)
        except ValueError as error:
            self.warn(f"{name}={text!r} is ignored: {error}")
            return None

    def flag(self, name: str, *, default: bool) -> bool:
        """Reads one of VPC CNI's booleans."""
        value = self.lenient(name, boolean)
        return default if value is None else value

    def one_of(self, name: str, allowed: tuple[str, ...], default: str) -> str:
        """Reads a word of a list, in any case; another one is a problem."""
        text = self.text(name).lower()
        if not text:
            return default
        if text not in allowed:
            self.refuse(f"{name}={text!r} is wrong: it must be one of {', '.join(allowed)}")
            return default
        return text

    def refuse_unknown(self, prefix: str) -> None:
        """Makes every variable with this prefix that was never read a problem."""
        unknown = sorted(name for name in self._environ if name.startswith(prefix) and name not in self._known)
        for name in unknown:
            self.refuse(f"{name} is no setting of the operator: it must be removed")

    def refuse(self, sentence: str) -> None:
        """Adds a problem."""
        self.problems.append(sentence)

    def warn(self, sentence: str) -> None:
        """Adds a warning, once."""
        if sentence not in self.warnings:
            self.warnings.append(sentence)
