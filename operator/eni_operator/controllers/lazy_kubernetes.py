"""Makes ``kubernetes_asyncio.client`` load its generated classes when they are asked for, not all 700 at once.

kopf imports the package if it is installed, and its own ``__init__`` files import everything: 32 MB that we never use.
This puts modules with a lazy ``__getattr__`` (PEP 562) in their place; whatever is asked for is imported as before.
Must run before anything imports kubernetes_asyncio or kopf.
"""

import importlib
import re
import sys
from collections.abc import Callable, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, Final

ROOT: Final = "kubernetes_asyncio"
_LAZY: Final = (ROOT, f"{ROOT}.client", f"{ROOT}.client.api", f"{ROOT}.client.models")
_IMPORT: Final = re.compile(r"^from (\S+) import (\w+)", re.MULTILINE)


def install() -> bool:
    """Puts the lazy modules in place; False where the package is missing or already loaded."""
    spec = PathFinder.find_spec(ROOT)
    if ROOT in sys.modules or spec is None or spec.origin is None:
        return False
    top = Path(spec.origin).parent
    exports: dict[str, str] = {}
    for name in reversed(_LAZY):
        folder = top.joinpath(*name.split(".")[1:])
        own = _exports(folder / "__init__.py")
        exports |= own
        module = _lazy_module(name, folder, dict(exports) if name.endswith(".client") else own)
        sys.modules[name] = module
        for child in _LAZY:
            if child.rpartition(".")[0] == name:
                setattr(module, child.rpartition(".")[2], sys.modules[child])
    return True


def _exports(init: Path) -> dict[str, str]:
    """Returns which module each name of a package comes from, as its ``__init__`` says."""
    return {name: module for module, name in _IMPORT.findall(init.read_text())}


def _lazy_module(name: str, folder: Path, exports: Mapping[str, str]) -> ModuleType:
    module = ModuleType(name)
    spec = ModuleSpec(name, None, origin=str(folder / "__init__.py"), is_package=True)
    spec.submodule_search_locations = [str(folder)]
    module.__spec__ = spec
    module.__path__ = [str(folder)]
    module.__package__ = name
    module.__getattr__ = _getter(module, exports)  # type: ignore[method-assign] # PEP 562
    return module


def _getter(module: ModuleType, exports: Mapping[str, str]) -> Callable[[str], Any]:
    def get(attribute: str) -> Any:
        if attribute in exports:
            value = getattr(importlib.import_module(exports[attribute]), attribute)
            setattr(module, attribute, value)
            return value
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        try:
            return importlib.import_module(f"{module.__name__}.{attribute}")
        except ModuleNotFoundError:
            raise AttributeError(f"module {module.__name__!r} has no attribute {attribute!r}") from None

    return get
