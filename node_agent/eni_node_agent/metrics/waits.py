"""How long pods waited for their address, from the moment the agent saw that they are bound to its node. Pure."""

from collections.abc import Iterable


class PodWaits:
    """Pods by uid and when they were first seen. Those seen first of all were bound nobody knows when: not measured."""

    def __init__(self) -> None:
        self._since: dict[str, float | None] | None = None

    def see(self, uids: Iterable[str], now: float) -> None:
        """Takes over the pods that are bound here now."""
        before, first = self._since or {}, None if self._since is None else now
        self._since = {uid: before.get(uid, first) for uid in uids}

    def served(self, uid: str, now: float) -> float | None:
        """Returns the seconds a pod has waited for its first address; None: it had one, or nobody knows."""
        since = None if self._since is None else self._since.get(uid)
        if self._since is not None and uid in self._since:
            self._since[uid] = None
        return None if since is None else now - since
