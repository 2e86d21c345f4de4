"""What a cluster has to say for itself when a test on it fails: pools, pods, Events and the daemons' last words."""

import subprocess

from eni_lab.lab import Lab

_QUESTIONS = (
    ("get", "nodes,pods", "-A", "-o", "wide"),
    ("get", "nodeippools,eniconfigs", "-o", "yaml"),
    ("get", "events", "-A", "--sort-by=.lastTimestamp"),
    *(
        ("logs", "-n", "kube-system", "-l", f"app.kubernetes.io/name={daemon}", "--prefix", "--tail=80", *previous)
        for daemon in ("eni-operator", "eni-agent")
        for previous in ((), ("--previous",))
    ),
)
_LONGEST = 12_000
"""Characters of an answer; the last ones tell most."""


def account(lab: Lab) -> str:
    """Returns the answers to all questions; what cannot be asked any more says so."""
    return "\n".join(f"$ kubectl {' '.join(question)}\n{_answer(lab, question)}" for question in _QUESTIONS)


def _answer(lab: Lab, question: tuple[str, ...]) -> str:
    try:
        told = subprocess.run(
            lab.kubectl_command(*question, "--request-timeout=5s"),
            capture_output=True,
            text=True,
            check=False,
            timeout=15,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (told.stdout + told.stderr)[-_LONGEST:]
