"""What a machine must have before a laboratory can run on it. Looks only; ``make deps`` installs."""

import os
import shutil

TOOLS = (
    *("containerd", "ctr", "runc", "buildah", "debootstrap", "gcc", "openssl"),
    *("ip", "mount", "nft", "nsenter", "setpriv", "sysctl", "unshare"),
)


def reason_for_none() -> str:
    """Why no laboratory can run here, or nothing."""
    if os.geteuid() != 0:
        return "it is not run as root"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"{', '.join(absent)} not installed; `make deps` installs them" if absent else ""
