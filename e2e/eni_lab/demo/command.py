"""``eni-lab demo``: brings a laboratory up, tells the story, and leaves nothing, or the laboratory with ``--keep``."""

import argparse

from eni_lab.demo import observed, story
from eni_lab.errors import LabError
from eni_lab.lab import Lab, Options

_KEPT = """
The laboratory is still up. Look around:
  eni-lab status
  eni-lab kubectl get nodeippools -o wide
  eni-lab kubectl edit nodeippool node-a1
  eni-lab exec node-a1 ip rule
  eni-lab aws calls
  eni-lab node add
and end it with:
  eni-lab down
(eni-lab is in .venv/bin)
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Says what may be chosen."""
    parser.add_argument("--keep", action="store_true", help="leave the laboratory running")


def run(lab: Lab, options: argparse.Namespace) -> None:
    """Plays the whole story; a laboratory that fails is left as it is, for a look."""
    lab.down()
    lab.up(Options())
    lab.deploy()
    story.tell(lab, lab.report)
    print_calls(lab)
    if options.keep:
        print(_KEPT)
        return
    lab.down()
    if left := lab.leftovers():
        raise LabError("left behind: " + ", ".join(left))
    lab.report("nothing is left behind: no process, mount, namespace, cgroup or file")


def print_calls(lab: Lab) -> None:
    """Prints the EC2 calls of the product, by kind."""
    print("           EC2 calls of the two operators, by kind:")
    for action, number in sorted(observed.ec2_calls(lab).items()):
        print(f"           {number:5} {action}")
