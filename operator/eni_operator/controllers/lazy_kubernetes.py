"""Makes ``kubernetes_asyncio.client`` load its generated classes when they are asked for, not all 700 at once.

kopf imports the package if it is installed, and its own ``__init__`` files import everything: 32 MB that we never use.
This puts modules with a lazy ``__getattr__`` (PEP 562) in their place; whatever is asked for is imported as before.
Must run before anything imports kubernetes_asyncio or kopf.
"""

import importlib
import re
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, Final

ROOT: Final = "kubernetes_asyncio"
_LAZY: Final = (ROOT, f"{ROOT}.client", f"{ROOT}.client.api", f"{ROOT}.client.models")


def install() -> bool:
    """Puts the lazy modules in place; False where the package is missing or already loaded."""
    spec = PathFinder.find_spec(ROOT)
    if ROOT in sys.modules or spec is None or spec.origin is None:
        return False
    top = Path(spec.origin).parent
    for name in reversed(_LAZY):
        module = _lazy_module(name, top.joinpath(*name.split(".")[1:]))
        sys.modules[name] = module
        for child in _LAZY:
            if child.rpartition(".")[0] == name:
                setattr(module, child.rpartition(".")[2], sys.modules[child])
    return True


def _lazy_module(name: str, folder: Path) -> ModuleType:
    module = ModuleType(name)
    spec = ModuleSpec(name, None, origin=str(folder / "__init__.py"), is_package=True)
    spec.submodule_search_locations = [str(folder)]
    module.__spec__ = spec
    module.__path__ = [str(folder)]
    module.__package__ = name
    module.__getattr__ = _getter(module)  # type: ignore[method-assign] # PEP 562
    return module


def _getter(module: ModuleType) -> Callable[[str], Any]:
    def get(attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        home = _home(module, attribute)
        value = getattr(importlib.import_module(home), attribute) if home else _submodule(module, attribute)
        setattr(module, attribute, value)
        return value

    return get


def _home(module: ModuleType, attribute: str) -> str | None:
    """Returns the module a name comes from, as ``__init__`` says; the client passes its models and APIs on.

    The files are read again for each name: that is a few milliseconds, and keeping 1200 names costs 600 KB.
    """
    passed_on = ("api", "models") if module.__name__ == f"{ROOT}.client" else ()
    for package in ("", *passed_on):
        init = Path(module.__path__[0], package, "__init__.py")
        found = re.search(rf"^from (\S+) import {attribute}$", init.read_text(), re.MULTILINE)
        if found:
            return found.group(1)
    return None


def _submodule(module: ModuleType, attribute: str) -> ModuleType:
    try:
        return importlib.import_module(f"{module.__name__}.{attribute}")
    except ModuleNotFoundError:
        raise AttributeError(f"module {module.__name__!r} has no attribute {attribute!r}") from None
