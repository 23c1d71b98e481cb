"""A training step in JAX, jitted as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from harness.library import Library
from harness.tasks import BETA1, BETA2, EPS, Array, Task
from tinyconv import nn

# In what follows p are parameters, by their names, and s the other arrays of a net: statistics of batches.


def lenet5(jax: Any, task: Task) -> Callable[..., Any]:
    def forward(p: Any, s: Any, x: Any) -> Any:
        for layer in ("conv1", "conv2"):
            x = jax.lax.conv_general_dilated(x, p[f"{layer}.weight"], (1, 1), "VALID")
            x = _pooled(jax, jax.nn.relu(x + p[f"{layer}.bias"][:, None, None]))
        x = x.reshape(len(x), -1)
        for layer in ("fc1", "fc2"):
            x = jax.nn.relu(x @ p[f"{layer}.weight"].T + p[f"{layer}.bias"])
        return x @ p["fc3.weight"].T + p["fc3.bias"], s

    return forward


def layered(jax: Any, task: Task) -> Callable[..., Any]:
    """Layer by layer as ours is made."""
    model: Any = task.model()
    layers = list(enumerate(model))

    def forward(p: Any, s: Any, x: Any) -> Any:
        kept: dict[str, Any] = {}
        for i, layer in layers:
            if isinstance(layer, nn.Conv2d):
                padding: Any = layer.padding  # a pair: no net here says "same"
                x = jax.lax.conv_general_dilated(x, p[f"{i}.weight"], layer.stride, [(size, size) for size in padding])
                x = x if layer.bias is None else x + p[f"{i}.bias"][:, None, None]
            elif isinstance(layer, nn.BatchNorm2d):
                x, new = normalised(p, s, i, layer, x)
                kept |= new
            elif isinstance(layer, nn.Linear):
                x = x @ p[f"{i}.weight"].T + p[f"{i}.bias"]
            else:
                x = others[type(layer)](x)
        return x, kept

    others: dict[type, Callable[[Any], Any]] = {
        nn.ReLU: jax.nn.relu,
        nn.GELU: lambda x: jax.nn.gelu(x, approximate=False),
        nn.MaxPool2d: lambda x: _pooled(jax, x),
        nn.AdaptiveAvgPool2d: lambda x: x.mean((2, 3)),
        nn.AdaptiveMaxPool2d: lambda x: x.max((2, 3)),
        nn.Flatten: lambda x: x.reshape(len(x), -1),
    }

    def normalised(p: Any, s: Any, i: int, layer: Any, x: Any) -> Any:
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
        n = x.size // x.shape[1]
        kept = {
            f"{i}.{name}": (1 - layer.momentum) * s[f"{i}.{name}"] + layer.momentum * value
            for name, value in {"running_mean": mean, "running_var": var * (n / (n - 1))}.items()
        }
        scale = p[f"{i}.weight"] * jax.lax.rsqrt(var + layer.eps)
        x = (x - mean[:, None, None]) * scale[:, None, None] + p[f"{i}.bias"][:, None, None]
        return x, kept

    return forward


def _pooled(jax: Any, x: Any) -> Any:
    return jax.lax.reduce_window(x, -np.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


NETS = {"lenet5": lenet5, "cifarnet": layered, "stack": layered}


def adam(jax: Any, lr: float) -> Callable[..., Any]:
    def update(p: Any, m: Any, v: Any, t: Any, g: Any) -> Any:
        m = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, m, g)
        v = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, v, g)
        rate, root = lr / (1 - BETA1**t), jax.numpy.sqrt(1 - BETA2**t)
        p = jax.tree.map(lambda p, m, v: p - rate * m / (jax.numpy.sqrt(v) / root + EPS), p, m, v)
        return p, m, v

    return update


def sgd(jax: Any, lr: float, momentum: float) -> Callable[..., Any]:
    def update(p: Any, m: Any, v: Any, t: Any, g: Any) -> Any:
        m = jax.tree.map(lambda m, g: momentum * m + g, m, g)
        return jax.tree.map(lambda p, m: p - lr * m, p, m), m, v

    return update


OPTIMIZERS: dict[str, Callable[..., Any]] = {"Adam": adam, "SGD": sgd}


class Jax(Library):
    """JAX: the whole step jitted, the optimiser included; on a GPU in full float32."""

    def __init__(self, task: Task, device: str = "cpu") -> None:
        import jax

        self.jax = jax
        kind, _, number = device.partition(":")
        self.device = jax.devices(kind)[int(number or 0)]
        if kind != "cpu":
            jax.config.update("jax_default_matmul_precision", "highest")
        forward = NETS[task.name](jax, task)
        optimizer = OPTIMIZERS[task.optimizer](jax, **task.options)

        def loss(p: Any, s: Any, x: Any, y: Any) -> Any:
            logits, s = forward(p, s, x)
            return -jax.numpy.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean(), s

        def step(p: Any, s: Any, m: Any, v: Any, t: Any, x: Any, y: Any) -> Any:
            (value, s), g = jax.value_and_grad(loss, has_aux=True)(p, s, x, y)
            t = t + 1
            p, m, v = optimizer(p, m, v, t, g)
            return p, s, m, v, t, value

        self._step, self._forward = jax.jit(step, donate_argnums=(0, 1, 2, 3)), jax.jit(forward)
        weights = task.weights()
        s = {name: weights.pop(name) for name in list(weights) if name.rpartition(".")[2].startswith("running_")}
        p = {name: array for name, array in weights.items() if not name.endswith("num_batches_tracked")}
        zeros = {name: np.zeros_like(array) for name, array in p.items()}
        self.state = jax.device_put((p, s, zeros, zeros, np.zeros((), np.float32)), self.device)

    def prepare(self, x: Array, y: Array) -> Any:
        return tuple(self.jax.device_put((x, y.astype(np.int32)), self.device))

    def step(self, batch: Any) -> Any:
        *self.state, loss = self._step(*self.state, *batch)
        return loss

    def infer(self, batch: Any) -> Array:
        return np.asarray(self._forward(*self.state[:2], batch[0])[0])

    def wait(self) -> None:
        self.jax.block_until_ready(self.state)
