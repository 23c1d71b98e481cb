"""Hooks around a module's forward, against PyTorch's; and within a captured step."""

import copy
import pickle

import numpy as np
import pytest
from messages import message

import tinyconv as tc
from tinyconv import nn

torch = pytest.importorskip("torch")


def both(function):
    """What `function` gives of a layer of ours, and of PyTorch's with the same weights."""
    theirs = torch.nn.Linear(3, 2)
    ours = nn.Linear(3, 2)
    ours.load_state_dict(theirs.state_dict())
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    return function(ours, tc.tensor(x)), function(theirs, torch.tensor(x))


def same(ours, theirs):
    np.testing.assert_allclose(np.asarray(ours.detach()), theirs.detach().numpy(), rtol=1e-6)


PRE = {
    "looks": lambda m, args: None,
    "a tuple": lambda m, args: (args[0] * 2,),
    "one value": lambda m, args: args[0] + 1,
}
POST = {"looks": lambda m, args, out: None, "replaces": lambda m, args, out: out * 3 + args[0].sum()}


@pytest.mark.parametrize("pre", PRE)
@pytest.mark.parametrize("post", POST)
def test_what_hooks_return_takes_the_place(pre, post):
    def run(layer, x):
        first = layer.register_forward_pre_hook(PRE[pre])
        with layer.register_forward_hook(POST[post]):
            inside = layer(x)
        first.remove()
        first.remove()  # a second time does nothing
        return inside, layer(x)

    ours, theirs = both(run)
    for mine, other in zip(ours, theirs, strict=True):
        same(mine, other)


def test_their_order_and_their_arguments():
    class Scaled(torch.nn.Module):
        def forward(self, x, by=1.0):
            return x * by

    class Ours(nn.Module):
        def forward(self, x, by=1.0):
            return x * by

    def run(layer, x):
        seen = []
        layer.register_forward_pre_hook(lambda m, args: seen.append(("b", m is layer, len(args))))
        layer.register_forward_pre_hook(lambda m, args: seen.append(("a", len(args))), prepend=True)
        layer.register_forward_pre_hook(lambda m, args, kw: (args, {"by": kw["by"] * 2}), with_kwargs=True)
        layer.register_forward_hook(lambda m, args, out: seen.append(("d", float(out.sum()))))
        layer.register_forward_hook(lambda m, args, kw, out: seen.append(("c", kw)), prepend=True, with_kwargs=True)
        return layer(x, by=2.0), seen

    (mine, seen), (other, expected) = run(Ours(), tc.ones(3)), run(Scaled(), torch.ones(3))
    same(mine, other)
    assert seen == expected


def test_a_hook_that_is_always_called_sees_the_failure():
    def run(library, base):
        seen = []

        class Bad(base):
            def forward(self, x):
                raise RuntimeError("no")

        layer = Bad()
        layer.register_forward_hook(lambda m, args, out: seen.append("never"))
        layer.register_forward_hook(lambda m, args, out: seen.append(out), always_call=True)
        with pytest.raises(RuntimeError, match="no"):
            layer(library.ones(1))
        return seen

    assert run(tc, nn.Module) == run(torch, torch.nn.Module) == [None]


def test_a_hook_may_remove_itself():
    layer, seen = nn.ReLU(), []

    def once(module, args, out):
        seen.append(out)
        handle.remove()

    handle = layer.register_forward_hook(once)
    layer(tc.ones(1)), layer(tc.ones(1))
    assert len(seen) == 1


def double(module, args, out):
    return out * 2


def test_copies_keep_their_hooks():
    layer = nn.ReLU()
    layer.handle = layer.register_forward_hook(double)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin(tc.ones(1)).item() == 2
        twin.handle.remove()
        assert twin(tc.ones(1)).item() == 1
    assert layer(tc.ones(1)).item() == 2


def test_a_captured_step_has_the_hooks_of_its_layers():
    """Their work is recorded; a hook that comes or goes later makes the step be recorded anew."""
    layer = nn.Linear(2, 2)
    x = tc.ones(3, 2)
    captured = tc.capture(lambda x: layer(x))
    handle = None
    for i in range(9):
        if i == 3:
            handle = layer.register_forward_hook(double)
        if i == 6:
            handle.remove()
        np.testing.assert_allclose(captured(x).numpy(), layer(x).numpy(), rtol=1e-6)


def test_tiles_on_threads_show_the_module_itself():
    layer, seen = nn.Linear(2, 2), []
    layer.register_forward_hook(lambda m, args, out: seen.append(m))
    nn.DataParallel(layer, tile=2)(tc.ones(4, 2))
    assert len(seen) == 2
    assert all(m is layer for m in seen)


def test_mistakes():
    layer = nn.ReLU()
    assert message(TypeError, layer.register_forward_hook, 3) == "ReLU: a hook is a function, got a int"
    layer.register_forward_pre_hook(lambda m, args, kw: args, with_kwargs=True)
    assert message(tc.CallError, layer, tc.ones(1)).startswith(
        "ReLU: a forward pre-hook with_kwargs=True returns None, or the arguments and the keyword arguments (args, "
        "kwargs), got a tuple"
    )
