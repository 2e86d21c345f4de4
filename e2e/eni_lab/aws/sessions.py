"""Temporary credentials: who a temporary access key was given to, and until when.

Signatures are not checked; a key only names its caller. Counterparts: ``sts`` and ``imds`` issue keys, ``http`` asks.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

from eni_lab.aws.engine.errors import Ec2Error

SESSION_SECONDS = 3600
"""STS's default duration."""

_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Temporary credentials; ``expires`` in epoch seconds."""

    access_key: str
    secret_key: str
    token: str
    subject: str
    expires: float


class Sessions:
    """All temporary credentials given out."""

    def __init__(self, clock: Callable[[], float], rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._issued: dict[str, Credentials] = {}

    def issue(self, subject: str, seconds: float = SESSION_SECONDS) -> Credentials:
        """Gives out credentials to a subject, such as system:serviceaccount:kube-system:eni-operator."""
        key = "ASIA" + "".join(self._rng.choices(_LETTERS, k=16))
        expires = self._clock() + seconds
        issued = Credentials(key, self._text(40), self._text(120), subject, expires)
        self._issued[key] = issued
        return issued

    def caller(self, authorization: str) -> str:
        """Returns the name of who signed a request (SigV4's Authorization header).

        Raises:
            Ec2Error: unsigned, signed with a temporary key nobody was given, or with an expired one.
        """
        match = _CREDENTIAL.search(authorization)
        if match is None:
            text = "AWS was not able to validate the provided access credentials"
            raise Ec2Error("AuthFailure", text, 401)
        key = match.group(1)
        if not key.startswith("ASIA"):
            return key
        issued = self._issued.get(key)
        if issued is None:
            text = "AWS was not able to validate the provided access credentials"
            raise Ec2Error("AuthFailure", text, 401)
        if issued.expires <= self._clock():
            raise Ec2Error("RequestExpired", "Request has expired.")
        return issued.subject

    def _text(self, length: int) -> str:
        return "".join(self._rng.choices(_LETTERS + _LETTERS.lower(), k=length))
