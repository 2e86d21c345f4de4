"""What the project's image is made of, and which stores are kept."""

import os
from pathlib import Path

import pytest

from eni_lab.kube import images
from eni_lab.layout import Layout

DOCKERFILE = """\
FROM base AS build
COPY requirements/image.txt /src/
COPY package /src/package
FROM base
COPY --from=build /opt /opt
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    for name in ("requirements/image.txt", "requirements/dev.txt", "package/a.py", "package/__pycache__/a.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("one\n")
    return tmp_path


def digest(repository: Path) -> str:
    return images.digest_of(images.build_inputs(repository), repository)


def test_the_image_is_made_of_what_the_dockerfile_copies(repository: Path) -> None:
    inputs = {str(file.relative_to(repository)) for file in images.build_inputs(repository)}
    assert inputs == {"Dockerfile", "requirements/image.txt", "package/a.py"}


@pytest.mark.parametrize("name", ["Dockerfile", "requirements/image.txt", "package/a.py"])
def test_a_changed_input_asks_for_another_image(repository: Path, name: str) -> None:
    before = digest(repository)
    (repository / name).write_text((repository / name).read_text() + "# two\n")
    assert digest(repository) != before


def test_what_is_not_copied_does_not_count(repository: Path) -> None:
    before = digest(repository)
    (repository / "requirements/dev.txt").write_text("two\n")
    (repository / "package/a.py").touch()
    assert digest(repository) == before


def test_a_renamed_file_counts(repository: Path) -> None:
    before = digest(repository)
    (repository / "package/a.py").rename(repository / "package/b.py")
    assert digest(repository) != before


def test_the_repositorys_own_dockerfile_is_understood() -> None:
    inputs = {str(file.relative_to(images.REPOSITORY)) for file in images.build_inputs(images.REPOSITORY)}
    assert {"pyproject.toml", "requirements/image.txt", "operator/eni_operator/domain/pool.py"} <= inputs
    assert not [name for name in inputs if name.startswith(("tests/", "e2e/"))]


def test_a_laboratory_holds_one_store(tmp_path: Path) -> None:
    layout = Layout(tmp_path, tmp_path / "run")
    layout.state.mkdir()
    for name in ("0123456789a1", "0123456789a2"):
        (layout.stores / name / "users").mkdir(parents=True)
    (layout.stores / "0123456789a1" / "users" / layout.cgroup).touch()

    images.take(layout, layout.stores / "0123456789a2")

    assert [path.parts[-3] for path in layout.stores.glob("*/users/*")] == ["0123456789a2"]
    assert layout.image_store.resolve() == layout.stores / "0123456789a2"


def test_old_stores_go_with_the_base_that_only_they_link_to(tmp_path: Path) -> None:
    def new_store(name: str, base: str, age: int) -> None:
        (tmp_path / base).mkdir(exist_ok=True)
        (tmp_path / name / "users").mkdir(parents=True)
        (tmp_path / name / "users" / "eni-lab-no-such-cgroup").touch()
        (tmp_path / name / "base").symlink_to(tmp_path / base)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))

    new_store("0123456789a1", "base-new", 1)
    new_store("0123456789a2", "base-new", 2)
    new_store("0123456789a3", "base-old", 3)
    new_store("0123456789a4", "base-older", 4)

    images._prune(tmp_path)

    kept = sorted(path.name for path in tmp_path.iterdir())
    assert kept == ["0123456789a1", "0123456789a2", "0123456789a3", "base-new", "base-old"]
