"""A containerd store with the images in it, made once; every node's store links to what is in it."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from eni_lab.errors import LabError

_LINKED = ("io.containerd.snapshotter.v1.overlayfs/snapshots", "io.containerd.content.v1.content/blobs/sha256")
_DATABASES = ("io.containerd.snapshotter.v1.overlayfs/metadata.db", "io.containerd.metadata.v1.bolt/meta.db")
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
for image in $($ctr list --quiet | grep -v ^localhost/base/); do
  $ctr tag --force "$image" "localhost/base/${image#*/}" # the base's base may have had one of that name
done
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
    """Makes a store that has all that ``source`` has, at once and without space.

    What was unpacked is only ever read, so it is linked to where it lies; containerd removes such a link, never what it
    points to. The two databases are copied.
    """
    for folder in _LINKED:
        (target / folder).mkdir(parents=True)
        for entry in (source / folder).iterdir():
            (target / folder / entry.name).symlink_to(entry.resolve())
    for database in _DATABASES:
        (target / database).parent.mkdir(exist_ok=True)
        shutil.copy(source / database, target / database)
