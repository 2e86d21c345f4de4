"""Where the laboratory keeps its things on disk. Decides names only; the parts make and remove what they need there.

The cache (binaries, images, image store) outlives laboratories; the state is one laboratory's and goes with it.
"""

import fcntl
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The two folders of a laboratory and what lies in them."""

    cache: Path
    """Shared by all laboratories of this user; safe to delete while none runs."""
    state: Path
    """One laboratory: keys, logs, disks of its nodes. Its path is the laboratory's identity."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str], home: Path) -> "Layout":
        """The folders for this user: ``~/.cache/eni-lab`` and in it ``run/default``, or ``ENI_LAB_STATE``."""
        cache = home / ".cache" / "eni-lab"
        state = environ.get("ENI_LAB_STATE")
        return cls(cache, Path(state).absolute() if state else cache / "run" / "default")

    @property
    def images(self) -> Path:
        """Image archives, in the cache."""
        return self.cache / "images"

    @property
    def stores(self) -> Path:
        """Containerd stores with the images in them, in the cache."""
        return self.cache / "stores"

    @contextmanager
    def cache_lock(self) -> Iterator[None]:
        """Held by who makes something in the cache; others wait, then find it made. Freed by the kernel if killed."""
        self.cache.mkdir(parents=True, exist_ok=True)
        with (self.cache / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @property
    def cgroup(self) -> str:
        """The name of the laboratory's cgroup: every process of it is in there, however it was started."""
        return f"eni-lab-{hashlib.sha256(str(self.state).encode()).hexdigest()[:10]}"

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.state / "pki"

    @property
    def nodes(self) -> Path:
        """One folder a node: its disk and its configuration."""
        return self.state / "nodes"

    @property
    def image_store(self) -> Path:
        """A link to the store that every node starts with: nodes added later have the same images."""
        return self.state / "images"

    @property
    def logs(self) -> Path:
        """One file a part."""
        return self.state / "logs"

    @property
    def parts(self) -> Path:
        """One file a part: how it is started, and its process id."""
        return self.state / "parts"

    def kubeconfig(self, name: str) -> Path:
        """Credentials of one identity, ``admin`` among them."""
        return self.state / "kubeconfig" / f"{name}.json"
