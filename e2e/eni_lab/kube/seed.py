"""A containerd store with the images in it, made once; every node's store shares its files by hard links.

Layers and blobs are never written to after they were unpacked. The two databases are each node's own.
"""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from eni_lab.errors import LabError

_CONFIG = """\
version = 2
root = "{store}"
state = "{work}"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{work}/s"
[ttrpc]
  address = "{work}/t"
"""
_IMPORT = """\
set -e
containerd -c "$1/containerd.toml" > "$1/log" 2>&1 &
socket=$2
shift 2
until ctr -a "$socket" version > /dev/null 2>&1; do kill -0 $!; sleep 0.05; done
ctr="ctr -a $socket -n k8s.io images"
for image in $($ctr list --quiet | grep -v ^localhost/base/); do $ctr tag "$image" "localhost/base/${image#*/}"; done
for archive; do $ctr import "$archive"; done > /dev/null
kill $!
wait $!
"""


def build(store: Path, archives: Sequence[Path], base: Path | None = None) -> None:
    """Makes the store with the images of the archives, on top of what ``base`` has.

    What is in ``base`` stays: its images carry a second name, so none loses its last reference when an archive brings
    an image of the same name, and containerd collects nothing while it imports.

    Raises:
        LabError: containerd could not import; its words are in the message.
    """
    work = store.with_suffix(".work")
    unfinished = work / "root"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    if base:
        share(base, unfinished)
    (work / "containerd.toml").write_text(_CONFIG.format(store=unfinished, work=work))
    own = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    arguments = ("sh", str(work), f"{work}/s", *map(str, archives))
    done = subprocess.run([*own, "sh", "-c", _IMPORT, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"images could not be imported, see {work}/log: {done.stderr.strip()}")
    unfinished.rename(store)
    shutil.rmtree(work)


def share(source: Path, target: Path) -> None:
    """Gives a store's content to another: hard links on one file system, else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    same = source.stat().st_dev == target.parent.stat().st_dev
    subprocess.run(["cp", "-al" if same else "-a", source, target], check=True)
    for database in target.glob("*/meta*.db"):
        own = database.with_suffix(".own")
        shutil.copy(database, own)
        own.rename(database)
