"""Which next hop and table a sandbox has among the others of its pod."""

import pytest

from eni_cni_shim.plugin import pod_links

MAIN = 254
Route = tuple[int, str, str, int]


def way(number: int, oif: int) -> list[Route]:
    """Returns the routes of a link of ours."""
    table, hop = number or MAIN, f"169.254.1.{number + 1}"
    return [(table, f"{hop}/32", "", oif), (table, "0.0.0.0/0", hop, oif)]


OTHERS: list[Route] = [(MAIN, "10.9.0.0/16", "", 7), (MAIN, "0.0.0.0/0", "10.9.0.1", 7)]
LOCAL: list[Route] = [(255, "127.0.0.0/8", "", 1), (MAIN, "10.9.0.0/16", "", 7)]


@pytest.mark.parametrize(
    ("routes", "ifindex", "expected"),
    [
        pytest.param([], None, 0, id="an empty pod"),
        pytest.param(LOCAL, None, 0, id="another network's link without a default route"),
        pytest.param(way(0, 2), 2, 0, id="its own link, the first"),
        pytest.param(way(0, 2), None, 1, id="behind one of ours"),
        pytest.param([*way(0, 2), *way(1, 3)], None, 2, id="behind two"),
        pytest.param([*way(0, 2), *way(2, 4)], None, 1, id="one between has gone"),
        pytest.param([*way(0, 2), *way(1, 3), *way(2, 4)], 4, 2, id="its own link, the third"),
        pytest.param(OTHERS, None, 1, id="behind another network's default route"),
        pytest.param([*OTHERS, *way(1, 3)], 3, 1, id="its own link beside another network"),
        pytest.param([*way(0, 2)[:1], (MAIN, "0.0.0.0/0", "", 1)], 2, 0, id="its default route taken by somebody"),
        pytest.param([*way(0, 2), *way(1, 3)[1:]], 3, 1, id="its next hop lost"),
        pytest.param([(MAIN, "::/0", "fe80::1", 2)], None, 1, id="behind one of ours with IPv6 alone"),
    ],
)
def test_a_sandbox_keeps_its_place_and_takes_nobody_elses(
    routes: list[Route], ifindex: int | None, expected: int
) -> None:
    assert pod_links.place(routes, ifindex) == expected
