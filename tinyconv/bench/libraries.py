"""LeNet and its training step in other libraries, each as its own documentation would write it.

A library is made from LeNet's weights, by the names of ours, and has

    prepare(x, y) -> a batch as it takes one: images (N, 1, 28, 28) float32, labels (N,) int64
    step(batch) -> the loss before the update: zero the gradients, forward, cross-entropy, backward, Adam at 1e-3
    infer(batch) -> the logits (N, 10) as a NumPy array, with nothing recorded
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import models, nn, variants

Weights = dict[str, np.ndarray[Any, Any]]
Images = np.ndarray[Any, Any]
LR, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8


def lenet_weights() -> Weights:
    """LeNet's weights at seed 0."""
    tc.manual_seed(0)
    return {name: t.numpy().copy() for name, t in models.LeNet5().state_dict().items()}


class Missing(Exception):
    """A library that cannot be compared with here, and why."""


class Tinyconv:
    """This library: a plain training loop; or with `nn.DataParallel`; or with the compiled pairs."""

    def __init__(self, weights: Weights, parallel: bool = False, native: bool = False) -> None:
        if native and "native" not in variants.available("conv2d"):
            raise Missing("the compiled pairs are not part of this installation")
        self.native = native
        model = models.LeNet5()
        model.load_state_dict(weights)
        self.model: nn.Module = nn.DataParallel(model) if parallel else model
        self.optimizer = tc.optim.Adam(model.parameters(), lr=LR)

    @contextmanager
    def _variant(self) -> Iterator[None]:
        with tc.using("native") if self.native else nullcontext():
            yield

    def prepare(self, x: Images, y: Images) -> Any:
        return tc.tensor(x), tc.tensor(y)

    def step(self, batch: Any) -> float:
        x, y = batch
        with self._variant():
            self.optimizer.zero_grad()
            loss = F.cross_entropy(self.model(x), y)
            loss.backward()
            self.optimizer.step()
        return float(loss)

    def infer(self, batch: Any) -> Images:
        with tc.no_grad(), self._variant():
            return self.model(batch[0]).array


class Torch:
    """PyTorch, eager."""

    def __init__(self, weights: Weights) -> None:
        import torch

        self.torch, functional = torch, torch.nn.functional

        class LeNet5(torch.nn.Module):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.conv1, self.conv2 = torch.nn.Conv2d(1, 6, 5), torch.nn.Conv2d(6, 16, 5)
                self.fc1, self.fc2, self.fc3 = (torch.nn.Linear(*s) for s in ((256, 120), (120, 84), (84, 10)))

            def forward(self, x: Any) -> Any:
                x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
                x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
                x = functional.relu(self.fc1(x.flatten(1)))
                return self.fc3(functional.relu(self.fc2(x)))

        self.model: Any = LeNet5()
        self.model.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=LR)

    def prepare(self, x: Images, y: Images) -> Any:
        return self.torch.tensor(x), self.torch.tensor(y)

    def step(self, batch: Any) -> float:
        x, y = batch
        self.optimizer.zero_grad()
        loss = self.torch.nn.functional.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return float(loss.item())

    def infer(self, batch: Any) -> Images:
        with self.torch.no_grad():
            return self.model(batch[0]).numpy()


class TorchCompiled(Torch):
    """PyTorch, the model compiled; the optimiser is its own fused one."""

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights)
        self.model = self.torch.compile(self.model)
        self.optimizer = self.torch.optim.Adam(self.model.parameters(), lr=LR, fused=True)


class Jax:
    """JAX: the whole step jitted, Adam included."""

    def __init__(self, weights: Weights) -> None:
        import jax
        import jax.numpy as jnp

        self.jax = jax

        def logits(p: Any, x: Any) -> Any:
            for layer in ("conv1", "conv2"):
                x = jax.lax.conv_general_dilated(x, p[f"{layer}.weight"], (1, 1), "VALID")
                x = jax.nn.relu(x + p[f"{layer}.bias"][:, None, None])
                x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
            x = x.reshape(len(x), -1)
            for layer in ("fc1", "fc2"):
                x = jax.nn.relu(x @ p[f"{layer}.weight"].T + p[f"{layer}.bias"])
            return x @ p["fc3.weight"].T + p["fc3.bias"]

        def loss(p: Any, x: Any, y: Any) -> Any:
            return -jnp.take_along_axis(jax.nn.log_softmax(logits(p, x)), y[:, None], 1).mean()

        def step(p: Any, m: Any, v: Any, t: Any, x: Any, y: Any) -> Any:
            value, g = jax.value_and_grad(loss)(p, x, y)
            t = t + 1
            m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, g)
            v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, g)
            rate, root = LR / (1 - BETA1**t), jnp.sqrt(1 - BETA2**t)
            p = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) / root + EPS), p, m, v)
            return p, m, v, t, value

        self._step, self._logits = jax.jit(step, donate_argnums=(0, 1, 2)), jax.jit(logits)
        p = {name: jnp.asarray(array) for name, array in weights.items()}
        self.state = p, jax.tree.map(jnp.zeros_like, p), jax.tree.map(jnp.zeros_like, p), jnp.zeros(())

    def prepare(self, x: Images, y: Images) -> Any:
        return self.jax.numpy.asarray(x), self.jax.numpy.asarray(y)

    def step(self, batch: Any) -> float:
        *self.state, loss = self._step(*self.state, *batch)
        return float(loss)

    def infer(self, batch: Any) -> Images:
        return np.asarray(self._logits(self.state[0], batch[0]))


class Tinygrad:
    """tinygrad, its JIT on the CPU, which compiles with clang."""

    def __init__(self, weights: Weights) -> None:
        if shutil.which("clang") is None:
            raise Missing("tinygrad compiles with clang, which is not installed")
        from tinygrad import Tensor, TinyJit
        from tinygrad.helpers import Context
        from tinygrad.nn.optim import Adam

        self.tensor = Tensor
        p = {name: Tensor(array.copy()).is_param_(True) for name, array in weights.items()}
        optimizer = Adam(list(p.values()), lr=LR)

        def logits(x: Any) -> Any:
            for layer in ("conv1", "conv2"):
                x = x.conv2d(p[f"{layer}.weight"], p[f"{layer}.bias"]).relu().max_pool2d((2, 2))
            x = x.flatten(1)
            for layer in ("fc1", "fc2"):
                x = x.linear(p[f"{layer}.weight"].T, p[f"{layer}.bias"]).relu()
            return x.linear(p["fc3.weight"].T, p["fc3.bias"])

        def step(x: Any, y: Any) -> Any:
            with Context(TRAINING=1):
                optimizer.zero_grad()
                loss = logits(x).sparse_categorical_crossentropy(y).backward()
                return loss.realize(*optimizer.schedule_step())

        self._step, self._logits = TinyJit(step), TinyJit(lambda x: logits(x).realize())

    def prepare(self, x: Images, y: Images) -> Any:
        return self.tensor(x).realize(), self.tensor(y.astype(np.int32)).realize()

    def step(self, batch: Any) -> float:
        return float(self._step(*batch).item())

    def infer(self, batch: Any) -> Images:
        found: Images = self._logits(batch[0]).numpy()
        return found


class Own:
    """What the two libraries without an optimiser of their own share: Adam on arrays."""

    def __init__(self, weights: Weights) -> None:
        self.weights = {name: array.copy() for name, array in weights.items()}
        self.m, self.v = ({name: np.zeros_like(a) for name, a in weights.items()} for _ in range(2))
        self.t = 0

    def prepare(self, x: Images, y: Images) -> Any:
        return x, y

    def adam(self, gradients: Weights) -> None:
        self.t += 1
        rate, root = LR / (1 - BETA1**self.t), (1 - BETA2**self.t) ** 0.5
        for name, g in gradients.items():
            self.m[name] = BETA1 * self.m[name] + (1 - BETA1) * g
            self.v[name] = BETA2 * self.v[name] + (1 - BETA2) * g * g
            self.weights[name] -= rate * self.m[name] / (np.sqrt(self.v[name]) / root + EPS)


class MyGrad(Own):
    """MyGrad, with its layers for neural networks."""

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights)
        import mygrad
        from mygrad.nnet.activations import relu
        from mygrad.nnet.layers import conv_nd, max_pool
        from mygrad.nnet.losses import softmax_crossentropy

        self.mygrad, self.loss = mygrad, softmax_crossentropy

        def logits(p: Any, x: Any) -> Any:
            for layer in ("conv1", "conv2"):
                x = conv_nd(x, p[f"{layer}.weight"], stride=1) + p[f"{layer}.bias"].reshape(1, -1, 1, 1)
                x = max_pool(relu(x), (2, 2), 2)
            x = x.reshape(len(x), -1)
            for layer in ("fc1", "fc2"):
                x = relu(mygrad.matmul(x, p[f"{layer}.weight"].T) + p[f"{layer}.bias"])
            return mygrad.matmul(x, p["fc3.weight"].T) + p["fc3.bias"]

        self.logits = logits

    def step(self, batch: Any) -> float:
        p = {name: self.mygrad.tensor(array) for name, array in self.weights.items()}
        loss = self.loss(self.logits(p, batch[0]), batch[1])
        loss.backward()
        self.adam({name: t.grad for name, t in p.items()})
        return float(loss.item())

    def infer(self, batch: Any) -> Images:
        with self.mygrad.no_autodiff:
            p = {name: self.mygrad.tensor(array) for name, array in self.weights.items()}
            found: Images = self.logits(p, batch[0]).data
            return found


class Autograd(Own):
    """HIPS autograd: NumPy, differentiated; the convolution is its own, of windows (it has no other)."""

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights)
        import autograd
        import autograd.numpy as anp
        from autograd.scipy.signal import convolve

        def logits(p: Any, x: Any) -> Any:
            for layer in ("conv1", "conv2"):
                turned = p[f"{layer}.weight"][:, :, ::-1, ::-1]  # it convolves, and does not correlate
                x = convolve(x, turned, axes=([2, 3], [2, 3]), dot_axes=([1], [1]), mode="valid")
                x = anp.maximum(x + anp.reshape(p[f"{layer}.bias"], (1, -1, 1, 1)), 0)
                n, c, h, w = x.shape
                x = anp.max(anp.max(anp.reshape(x, (n, c, h // 2, 2, w // 2, 2)), axis=5), axis=3)
            x = anp.reshape(x, (len(x), -1))
            for layer in ("fc1", "fc2"):
                x = anp.maximum(anp.dot(x, p[f"{layer}.weight"].T) + p[f"{layer}.bias"], 0)
            return anp.dot(x, p["fc3.weight"].T) + p["fc3.bias"]

        def loss(p: Any, x: Any, y: Any) -> Any:
            z = logits(p, x)
            z = z - anp.max(z, axis=1, keepdims=True)
            log_p = z - anp.log(anp.sum(anp.exp(z), axis=1, keepdims=True))
            return -anp.mean(log_p[anp.arange(len(y)), y])

        self._gradient, self.logits = autograd.value_and_grad(loss), logits

    def step(self, batch: Any) -> float:
        value, gradients = self._gradient(self.weights, *batch)
        self.adam(gradients)
        return float(value)

    def infer(self, batch: Any) -> Images:
        found: Images = self.logits(self.weights, batch[0])
        return found


REFERENCE = "torch"
LIBRARIES: dict[str, Callable[[Weights], Any]] = {
    "tinyconv": Tinyconv,
    "tinyconv parallel": partial(Tinyconv, parallel=True),
    "tinyconv native": partial(Tinyconv, native=True),
    "tinyconv native parallel": partial(Tinyconv, parallel=True, native=True),
    "torch": Torch,
    "torch.compile": TorchCompiled,
    "jax": Jax,
    "tinygrad": Tinygrad,
    "mygrad": MyGrad,
    "autograd": Autograd,
}


class Disagreement(Exception):
    """A library whose losses or outputs are not ours."""


def compare_losses(name: str, ours: list[float], theirs: list[float], tolerance: float = 1e-4) -> None:
    """Whether the first losses are equal: a wrong forward shows in the first, a wrong gradient in those after it."""
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if not abs(a - b) <= tolerance * max(1.0, abs(a)):
            raise Disagreement(f"{name}: loss {i + 1} is {b:.6f}, ours {a:.6f}; not timed")
