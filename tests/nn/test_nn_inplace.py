"""`inplace=True`: it writes into its input, whoever looks at that later, and the gradients are PyTorch's."""

from functools import partial

import numpy as np
import pytest
from messages import message
from oracle import assert_allclose

import tinyconv as tc
from tinyconv import nn

torch = pytest.importorskip("torch")
X = np.random.default_rng(0).standard_normal((3, 4, 6, 6)).astype(np.float32)


def block(library, activation):
    """A residual block as many write it: its branch begins with an in-place ReLU, and it adds its input at the end."""

    class Block(library.nn.Module):
        def __init__(self):
            super().__init__()
            nn = library.nn
            self.branch = nn.Sequential(activation(), nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), activation())
            self.conv = nn.Conv2d(4, 4, 1)

        def forward(self, x):
            x = self.conv(x)
            return self.branch(x) + x

    return Block()


def dense(library, activation):
    """Each layer takes what all before it made, and activates it in place."""

    class Dense(library.nn.Module):
        def __init__(self):
            super().__init__()
            nn = library.nn
            self.convs = nn.ModuleList([nn.Conv2d(4 + 2 * i, 2, 3, padding=1) for i in range(3)])
            self.first, self.activation = nn.Conv2d(4, 4, 1), activation()

        def forward(self, x):
            found = [self.first(x)]
            for conv in self.convs:
                x = library.cat(found, 1)
                found.append(conv(self.activation(x)) + x[:, :2])
                self.activation(found[-1])
            return library.cat(found, 1)

    return Dense()


def plain(library, activation):
    nn = library.nn
    return nn.Sequential(
        nn.Conv2d(4, 5, 3), activation(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(20, 3), activation()
    )


def views(library, activation):
    """A view is activated, and what it is a view of is used again."""

    class Views(library.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.activation = library.nn.Conv2d(4, 4, 3), activation()

        def forward(self, x):
            x = self.conv(x)
            first, second = x[:, :2], x[:, 2:]
            first.mul_(0.5)
            turned = x.permute(0, 2, 3, 1)
            self.activation(turned[:, ::3])
            return x * 2 + library.cat([second, first], 1) + turned.sum()

    return Views()


NETS = [block, dense, plain, views]
ACTIVATIONS = {
    "ReLU": lambda library: library.nn.ReLU(inplace=True),
    "LeakyReLU": lambda library: library.nn.LeakyReLU(0.1, inplace=True),
    "SiLU": lambda library: library.nn.SiLU(inplace=True),
}


def both(net, name):
    """A net of ours and the same of PyTorch, with the same weights."""
    ours, theirs = (net(library, partial(ACTIVATIONS[name], library)) for library in (tc, torch))
    ours.load_state_dict({key: tc.tensor(value.numpy()) for key, value in theirs.state_dict().items()})
    return ours, theirs


def passes(library, model, x, calls=3):
    """Losses, and the gradients of input and parameters, of several steps."""
    found = []
    for i in range(calls):
        x = library.tensor(X + i, requires_grad=True)
        y = model(x)
        (y * y).mean().backward()
        found += [y.detach(), x.grad, *(p.grad for p in model.parameters())]
    return found


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("net", NETS)
def test_values_and_gradients_are_torchs(net, name):
    ours, theirs = both(net, name)
    for a, b in zip(passes(tc, ours, X), passes(torch, theirs, X), strict=True):
        assert_allclose(a.numpy(), b.numpy(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("net", NETS)
def test_values_are_torchs_where_nothing_is_recorded(net):
    ours, theirs = both(net, "ReLU")
    with tc.no_grad(), torch.no_grad():
        assert_allclose(ours(tc.tensor(X)), theirs(torch.tensor(X)).numpy(), rtol=1e-4, atol=1e-5)


def test_the_output_is_the_input():
    for activation in ACTIVATIONS.values():
        x = tc.tensor([-1.0, 2.0])
        view = x[:1]
        assert activation(tc)(x) is x
        assert view.item() == x[0].item() != -1.0
    x = tc.ones(100)
    assert nn.Dropout(0.5, inplace=True)(x) is x
    assert set(x.tolist()) == {0.0, 2.0}
    assert nn.Dropout(0.5, inplace=True).eval()(x) is x


def test_memory_that_nobody_else_has_is_not_copied_into():
    x = tc.tensor([-1.0, 2.0])
    y = x + 0.0
    array = y.array
    nn.ReLU(inplace=True)(y)
    assert array.tolist() == [-1.0, 2.0]
    assert y.tolist() == [0.0, 2.0]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_leaf_that_requires_grad_is_refused(name):
    x = tc.ones(2, requires_grad=True)
    assert message(tc.GraphError, ACTIVATIONS[name](tc), x).startswith(
        f"{ {'ReLU': 'relu', 'LeakyReLU': 'leaky_relu', 'SiLU': 'silu'}[name] }: a leaf that requires grad cannot be"
    )
    with tc.no_grad():
        ACTIVATIONS[name](tc)(x)
    with pytest.raises(RuntimeError, match="leaf"):
        ACTIVATIONS[name](torch)(torch.ones(2, requires_grad=True))


def test_integers_take_no_real_numbers():
    x = tc.arange(3)
    nn.ReLU(inplace=True)(x)
    assert message(tc.DtypeError, nn.SiLU(inplace=True), x) == (
        "silu: the result is float32 and cannot be written into int64"
    )


def test_gradients_of_gradients():
    def run(library):
        x = library.tensor(X[:, :, 0, 0], requires_grad=True)
        h = x * x - 0.5
        library.nn.SiLU(inplace=True)(h)
        h.relu_()
        gradient = tc.grad if library is tc else torch.autograd.grad
        (dx,) = gradient((h * h).sum(), [x], create_graph=True)
        return [dx.detach().tolist(), gradient((dx * dx).sum(), [x])[0].tolist()]

    for a, b in zip(run(tc), run(torch), strict=True):
        assert_allclose(a, b, rtol=1e-3, atol=1e-4)


# --- captured ---------------------------------------------------------------------------------------------------------


def trained(net, name, captured):
    """The losses of six steps, and the step."""
    ours, _ = both(net, name)
    tc.manual_seed(0)
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.2)
    optimizer = tc.optim.SGD(ours.parameters(), lr=0.1)

    def step(x):
        optimizer.zero_grad()
        loss = (ours(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    run = tc.capture(step) if captured else step
    return [run(tc.tensor(X + i)).item() for i in range(6)], run


@pytest.mark.parametrize("net", [block, dense, plain])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_captured_step_does_the_same(net, name):
    (eager, _), (captured, _) = trained(net, name, False), trained(net, name, True)
    assert_allclose(captured, eager, rtol=1e-5)
    assert captured[0] != captured[-1]


def test_what_is_fused_is_fused_with_inplace_too():
    _, step = trained(plain, "ReLU", True)
    assert "conv2d 5@3x3 + relu + max_pool2d" in str(step)


def test_what_was_looked_at_before_the_write_is_not_fused():
    conv, pool = nn.Conv2d(4, 4, 3), nn.MaxPool2d(2)

    def step(x):
        h = conv(x)
        before = h * 1.0
        y = pool(nn.ReLU(inplace=True)(h))
        loss = before.sum() + (y * y).sum() + h.sum()
        loss.backward()
        return loss

    captured = tc.capture(step)
    for i in range(4):
        x = tc.tensor(X + i)
        conv.zero_grad()
        expected, gradient = step(x).item(), conv.weight.grad.tolist()
        conv.zero_grad()
        assert_allclose(captured(x).item(), expected, rtol=1e-5)
        assert_allclose(conv.weight.grad.tolist(), gradient, rtol=1e-4)
    assert "3x3 + relu" not in str(captured)


def test_a_write_into_what_has_views_is_no_step_to_capture():
    ours, _ = both(views, "ReLU")
    step = tc.capture(lambda x: ours(x).sum())
    step(tc.tensor(X))
    assert message(tc.CaptureError, step, tc.tensor(X)).startswith(
        "capture: *= writes into a tensor that has views, which is not replayed; make a new tensor, as in x = x + 1"
    )


def test_an_argument_is_written_to_at_each_replay():
    step = tc.capture(lambda x: nn.ReLU(inplace=True)(x) + 1)
    with tc.no_grad():
        for _ in range(5):
            x = tc.tensor([-1.0, 2.0])
            assert step(x).tolist() == [1.0, 3.0]
            assert x.tolist() == [0.0, 2.0]
