"""Moves VPC CNI's conflist out of the runtime's sight once ours is written, and back again.

Runtimes take the conflist that sorts first, and ``10-aws`` sorts before ``10-eni``. Each step is one rename, and at
every moment between them the folder holds one conflist that counts.
"""

from pathlib import Path
from typing import Final

THEIRS: Final = "10-aws.conflist"
ASIDE: Final = "10-aws.conflist.before-eni"
"""Runtimes read names that end in .conflist, .conf and .json only."""


def is_in_force(conf_dir: Path) -> bool:
    """Tells whether VPC CNI's conflist is where runtimes read it."""
    return (conf_dir / THEIRS).exists()


def set_aside(conf_dir: Path) -> bool:
    """Moves theirs aside; to be called once ours is there. False: there is none. Raises OSError."""
    try:
        (conf_dir / THEIRS).rename(conf_dir / ASIDE)
    except FileNotFoundError:
        return False
    return True


def restore(conf_dir: Path) -> bool:
    """Puts theirs back, before ours is removed. False: none was set aside, or there is one again. Raises OSError."""
    aside = conf_dir / ASIDE
    if is_in_force(conf_dir) or not aside.exists():
        return False
    aside.rename(conf_dir / THEIRS)
    return True
