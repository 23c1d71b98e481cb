"""The tape by itself, on Python floats: it needs neither arrays nor ops."""

import pytest

from tinyconv.engine.tape import Node, walk


class Leaf(Node):
    is_leaf = True

    def __init__(self):
        super().__init__()
        self.grad = None
        self.owned = None

    def pull(self, grad, owned, needs):
        self.grad = grad if self.grad is None else self.grad + grad
        self.owned = owned
        return ()


class Scale(Node):
    """y = sum of slope * x over the parents: each gradient is slope * dy, or dy itself where the slope is 1."""

    def __init__(self, *terms):
        super().__init__(tuple(parent for parent, _ in terms))
        self.slopes = [slope for _, slope in terms]
        self.pulls = []
        self.released = False

    def pull(self, grad, owned, needs):
        self.pulls.append(grad)
        return [grad if slope == 1 else grad * slope for slope in self.slopes]

    def release(self):
        self.released = True


class Counted:
    """A number that remembers how it came to be: by whose `+` or `*`, and what was added to it in place."""

    adds = 0

    def __init__(self, value):
        self.value = value
        self.in_place = 0

    def __add__(self, other):
        Counted.adds += 1
        return Counted(self.value + other.value)

    def __iadd__(self, other):
        self.in_place += 1
        self.value += other.value
        return self

    def __mul__(self, slope):
        return Counted(self.value * slope)


@pytest.fixture(autouse=True)
def count_anew():
    Counted.adds = 0


def test_a_chain():
    x = Leaf()
    y = Scale((Scale((Scale((x, 2.0)), 3.0)), 5.0))
    assert walk([(y, 1.0)]) == {}
    assert x.grad == 30.0


def test_nodes_are_walked_newest_first_whatever_the_order_of_the_parents():
    x = Leaf()
    walked = []

    class Named(Scale):
        def pull(self, grad, owned, needs):
            walked.append(self.order)
            return super().pull(grad, owned, needs)

    a = Named((x, 1.0))
    b = Named((x, 1.0))
    c = Named((a, 1.0), (b, 1.0))
    d = Named((b, 1.0), (c, 1.0), (a, 1.0))
    walk([(d, 1.0)])
    assert walked == [d.order, c.order, b.order, a.order]


def test_a_diamond_is_pulled_once_with_the_whole_gradient():
    x = Leaf()
    h = Scale((x, 2.0))
    left, right = Scale((h, 3.0)), Scale((h, 5.0))
    walk([(Scale((left, 1.0), (right, 1.0)), 1.0)])
    assert h.pulls == [8.0]
    assert x.grad == 16.0


def test_x_plus_x():
    x = Leaf()
    walk([(Scale((x, 1), (x, 1)), 1.0)])
    assert x.grad == 2.0


def test_parents_that_need_no_gradient_get_none():
    x = Leaf()
    node = Scale((x, 2.0), (x, 1.0))
    node.parents = (None, x)
    walk([(node, 1.0)])
    assert x.grad == 1.0


def test_a_gradient_of_none_is_no_gradient():
    x, other = Leaf(), Leaf()

    class Half(Scale):
        def pull(self, grad, owned, needs):
            return grad, None

    walk([(Half((x, 1.0), (other, 1.0)), 1.0)])
    assert (x.grad, other.grad) == (1.0, None)


def test_the_first_gradient_is_borrowed():
    x = Leaf()
    seed = Counted(1.0)
    walk([(Scale((x, 1)), seed)])
    assert x.grad is seed
    assert not x.owned
    assert Counted.adds == seed.in_place == 0


def test_the_second_gradient_makes_a_sum_and_leaves_both_alone():
    x = Leaf()
    seed = Counted(1.0)
    walk([(Scale((x, 1), (x, 1)), seed)])
    assert x.grad.value == 2.0
    assert x.owned
    assert x.grad is not seed
    assert (seed.value, seed.in_place) == (1.0, 0)
    assert (Counted.adds, x.grad.in_place) == (1, 0)


def test_the_third_and_later_are_added_in_place():
    x = Leaf()
    seed = Counted(1.0)
    walk([(Scale(*[(x, 1)] * 5), seed)])
    assert x.grad.value == 5.0
    assert (Counted.adds, x.grad.in_place) == (1, 3)
    assert (seed.value, seed.in_place) == (1.0, 0)


def test_a_sum_that_is_passed_on_is_borrowed_again():
    x, y = Leaf(), Leaf()
    h = Scale((x, 1), (y, 1))
    walk([(Scale((h, 1), (h, 1), (x, 1)), Counted(1.0))])
    assert (x.grad.value, y.grad.value) == (3.0, 2.0)
    assert not y.owned  # it is the sum at h, which x might have been given too


def test_several_roots_and_one_root_twice():
    x = Leaf()
    a, b = Scale((x, 2.0)), Scale((x, 3.0))
    walk([(a, 1.0), (b, 10.0), (a, 100.0)])
    assert x.grad == 2.0 + 30.0 + 200.0


def test_a_leaf_can_be_the_root():
    x = Leaf()
    walk([(x, 7.0)])
    assert x.grad == 7.0


def test_hooks_see_the_whole_gradient_in_order_and_may_replace_it():
    x = Leaf()
    h = Scale((x, 2.0))
    seen = []
    h.hooks = [lambda g: seen.append(g), lambda g: g * 10, lambda g: seen.append(g)]
    walk([(Scale((h, 1.0), (h, 3.0)), 1.0)])
    assert seen == [4.0, 40.0]
    assert x.grad == 80.0


def test_what_a_hook_was_shown_is_not_handed_over():
    x = Leaf()
    kept = []
    x.hooks = [kept.append]
    walk([(Scale((x, 1), (x, 1)), Counted(1.0))])
    assert x.grad is kept[0]
    assert not x.owned  # the hook holds it too


def test_a_hook_may_remove_itself():
    x = Leaf()
    seen = []

    def once(grad):
        seen.append("once")
        x.hooks.remove(once)

    x.hooks = [once, lambda g: seen.append("always")]
    walk([(x, 1.0)])
    walk([(x, 1.0)])
    assert seen == ["once", "always", "always"]


def test_capture_returns_gradients_and_leaves_the_leaves_alone():
    x, y = Leaf(), Leaf()
    h = Scale((x, 2.0), (y, 3.0))
    out = Scale((h, 5.0))
    assert walk([(out, 1.0)], wanted=[x, h]) == {x: 10.0, h: 5.0}
    assert x.grad is y.grad is None


def test_capture_walks_nothing_older_than_the_oldest_wanted():
    x = Leaf()
    old = Scale((x, 2.0))
    h = Scale((old, 3.0))
    out = Scale((h, 5.0), (old, 7.0))
    seen = []
    old.hooks = [seen.append]
    assert walk([(out, 1.0)], wanted=[h]) == {h: 5.0}
    assert old.pulls == h.pulls == seen == []
    assert out.released
    assert not old.released
    assert not h.released


def test_hooks_of_leaves_that_were_not_asked_for_do_not_run():
    x, y = Leaf(), Leaf()
    seen = []
    x.hooks, y.hooks = [lambda g: seen.append("x")], [lambda g: seen.append("y")]
    walk([(Scale((x, 1.0), (y, 1.0)), 1.0)], wanted=[y])
    assert seen == ["y"]


def test_a_wanted_node_that_is_not_reached_is_not_there():
    x, y = Leaf(), Leaf()
    assert walk([(Scale((x, 1.0)), 1.0)], wanted=[y]) == {}


def test_every_walked_node_is_released_unless_retained():
    x = Leaf()
    a = Scale((x, 2.0))
    b = Scale((a, 2.0))
    walk([(b, 1.0)], retain=True)
    assert not a.released
    assert not b.released
    walk([(b, 1.0)])
    assert a.released
    assert b.released
    assert x.grad == 8.0


def test_too_few_gradients_raise():
    x = Leaf()

    class Short(Scale):
        def pull(self, grad, owned, needs):
            return [grad]

    with pytest.raises(ValueError, match="shorter"):
        walk([(Short((x, 1.0), (x, 1.0)), 1.0)])


def test_a_node_without_pull_raises():
    with pytest.raises(NotImplementedError):
        walk([(Node(), 1.0)])


def test_a_long_chain_and_a_deep_diamond():
    x = Leaf()
    node = x
    for _ in range(100_000):
        node = Scale((node, 1))
    for _ in range(60):
        node = Scale((node, 1), (node, 1))
    walk([(node, 1.0)])
    assert x.grad == 2.0**60
