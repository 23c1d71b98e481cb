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
    np.testing.assert_allclose(np.asarray(ours.detach()), theirs.detach().numpy(), rtol=1e-6, atol=1e-7)


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


# --- backward ---------------------------------------------------------------------------------------------------------


def hooked(lib, hooks, freeze=False, unused=False):
    """The gradients of a small net whose middle takes two inputs and gives two outputs, and what its hooks saw."""

    class Middle(lib.nn.Module):
        def forward(self, a, n, b):
            return a * b * n, n, a + b

    x, y = (lib.ones(2) * k for k in (2.0, 3.0))
    x.requires_grad_(not freeze), y.requires_grad_(not freeze)
    w = lib.ones(2).requires_grad_()
    middle, seen = Middle(), []

    def shown(grads):
        return [None if g is None else [float(v) for v in g] for g in grads]

    def look(m, grad_input, grad_output):
        seen.append(("in", m is middle, shown(grad_input), shown(grad_output)))

    def change(m, grad_input, grad_output):
        return tuple(None if g is None else g * 2 for g in grad_input)

    def before(m, grad_output):
        seen.append(("out", shown(grad_output)))
        return tuple(None if g is None else g + 1 for g in grad_output)

    for hook in hooks:
        if hook == "before":
            middle.register_full_backward_pre_hook(before)
        else:
            middle.register_full_backward_hook({"look": look, "change": change}[hook])
    p, _, q = middle(x if freeze else x * 1, 3, y if freeze else y * 1)
    ((p * w).sum() + (0 if unused else (q * q * w).sum())).backward()
    return [None if t.grad is None else t.grad.tolist() for t in (x, y, w)], seen


@pytest.mark.parametrize("hooks", [["look"], ["change", "look"], ["before", "look"], ["look", "change", "before"]])
@pytest.mark.parametrize("unused", [False, True])
def test_backward_hooks_see_and_replace_what_torchs_do(hooks, unused):
    assert hooked(tc, hooks, unused=unused) == hooked(torch, hooks, unused=unused)


@pytest.mark.parametrize("name", ["ReLU", "Tanh"])
def test_the_backward_hook_of_older_programs(name):
    def act(lib):
        layer, seen = getattr(lib.nn, name)(), []
        x = lib.ones(2, 2).requires_grad_()
        handle = layer.register_backward_hook(lambda m, gi, go: seen.append((gi[0].tolist(), go[0].tolist())))
        layer.compile() if lib is tc else None
        (layer(x * 3) * 2).sum().backward()
        handle.remove()
        return np.round(seen, 5).tolist(), np.round(x.grad.tolist(), 5).tolist()

    assert act(tc) == act(torch)


def test_backward_hooks_are_told_of_the_output_that_forward_hooks_give():
    def run(layer, x):
        seen = []
        layer.register_forward_hook(lambda m, args, out: out * 2)
        layer.register_full_backward_pre_hook(lambda m, go: seen.append(go[0].tolist()))
        layer.register_full_backward_hook(lambda m, gi, go: seen.append(go[0].tolist()))
        layer(x.requires_grad_()).sum().backward()
        return layer.weight.grad, seen

    (mine, seen), (other, expected) = both(run)
    same(mine, other)
    assert seen == expected == [[[1.0, 1.0]] * 2] * 2


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")  # PyTorch's, of a hook without an input
def test_a_backward_hook_of_a_module_with_weights_alone():
    def run(layer, x):
        seen = []
        layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go[0].shape)))
        layer(x).sum().backward()
        return layer.weight.grad, [(gi, tuple(shape)) for gi, shape in seen]

    (mine, seen), (other, expected) = both(run)
    same(mine, other)
    assert seen == expected == [((None,), (2, 2))]


def test_a_captured_step_has_backward_hooks():
    layer, twin = nn.Linear(2, 2), nn.Linear(2, 2)
    twin.load_state_dict(layer.state_dict())
    for each in (layer, twin):
        each.register_full_backward_hook(lambda m, gi, go: tuple(g * 3 for g in gi))
    w, v = (tc.ones(3, 2, requires_grad=True) for _ in range(2))

    def step(layer, w, x):
        w.grad = None
        loss = (layer(w * x) ** 2).sum()
        loss.backward()
        return loss

    captured = tc.capture(lambda x: step(layer, w, x))
    for i in range(4):
        x = tc.full((3, 2), 1.0 + i)
        captured(x), step(twin, v, x)
        np.testing.assert_allclose(w.grad.numpy(), v.grad.numpy(), rtol=1e-5)


def test_a_backward_hook_that_returns_too_few():
    layer = nn.ReLU()
    layer.register_full_backward_hook(lambda m, gi, go: (gi[0], gi[0]))
    x = tc.ones(1, requires_grad=True)
    assert "a backward hook returns None or 1 gradients, as it got, not 2" in message(
        tc.CallError, layer(x).sum().backward
    )
