"""How a build learns of the machine's package index."""

import configparser

import pytest

from eni_lab.kube.builder import pip_configuration

MACHINES = """\
[global]
index-url = https://machine.example/simple
timeout = 60
[install]
no-compile = true
"""


def options(machines: str, environ: dict[str, str]) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    parser.read_string(pip_configuration(machines, environ))
    return {f"{section}.{option}": value for section in parser.sections() for option, value in parser.items(section)}


def test_the_environment_comes_before_the_machines_file() -> None:
    assert options(MACHINES, {"PIP_INDEX_URL": "https://name:pa%ss@other.example/simple", "PIP_INDEX": "x"}) == {
        "global.index-url": "https://name:pa%ss@other.example/simple",
        "global.timeout": "60",
        "install.no-compile": "true",
    }


@pytest.mark.parametrize("machines", ["", "[install]\nno-compile = true\n"])
def test_a_machine_may_be_configured_by_its_environment_alone(machines: str) -> None:
    environ = {"PIP_EXTRA_INDEX_URL": "https://a.example https://b.example", "PIP_TRUSTED_HOST": "a.example"}
    found = options(machines, environ)
    assert found["global.extra-index-url"] == "https://a.example https://b.example"
    assert found["global.trusted-host"] == "a.example"


def test_an_empty_variable_says_nothing() -> None:
    assert options("", {"PIP_INDEX_URL": ""}) == {}
