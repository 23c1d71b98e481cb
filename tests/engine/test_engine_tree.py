"""The tree by which the sums of tiles are added: its order, whatever the number of parts."""

import pytest

from tinyconv.engine.tree import pairwise, tiles

ORDERS = {
    1: "0",
    2: "(0+1)",
    3: "((0+1)+2)",
    4: "((0+1)+(2+3))",
    5: "(((0+1)+(2+3))+4)",
    6: "(((0+1)+(2+3))+(4+5))",
    7: "(((0+1)+(2+3))+((4+5)+6))",
    9: "((((0+1)+(2+3))+((4+5)+(6+7)))+8)",
}


@pytest.mark.parametrize("n", ORDERS)
def test_neighbours_are_added_and_an_odd_one_goes_up_alone(n):
    assert pairwise([str(i) for i in range(n)], lambda a, b: f"({a}+{b})") == ORDERS[n]


@pytest.mark.parametrize("n", range(1, 70))
def test_the_first_argument_is_a_sum_above_the_lowest_level(n):
    """So `add` may write into it; what was given is only read, or the first of two that nobody has added yet."""

    def add(a, b):
        calls.append((a, b))
        return (*a, *b)

    calls = []
    assert pairwise([(i,) for i in range(n)], add) == tuple(range(n))
    assert len(calls) == n - 1
    assert all(len(a) > 1 or (a[0] % 2 == 0 and b == (a[0] + 1,)) for a, b in calls)


def test_all_tiles_but_the_last_are_full():
    assert tiles(150) == [(0, 64), (64, 128), (128, 150)]
    assert tiles(128) == [(0, 64), (64, 128)]
    assert tiles(5, 2) == [(0, 2), (2, 4), (4, 5)]
    assert tiles(0) == [(0, 0)]
