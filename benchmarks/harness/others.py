"""LeNet and its training step in libraries that are compared with on the CPU alone: tinygrad, MyGrad, HIPS autograd."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np

from harness.library import Library, Missing
from harness.tasks import BETA1, BETA2, EPS, LR, Array, Task, Weights


class Tinygrad(Library):
    """tinygrad, its JIT on the CPU, which compiles with clang."""

    def __init__(self, task: Task) -> None:
        if shutil.which("clang") is None:
            raise Missing("tinygrad compiles with clang, which is not installed")
        from tinygrad import Tensor, TinyJit
        from tinygrad.helpers import Context
        from tinygrad.nn.optim import Adam

        self.tensor = Tensor
        p = {name: Tensor(array.copy()).is_param_(True) for name, array in task.weights().items()}
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

    def prepare(self, x: Array, y: Array) -> Any:
        return self.tensor(x).realize(), self.tensor(y.astype(np.int32)).realize()

    def step(self, batch: Any) -> float:
        return float(self._step(*batch).item())

    def infer(self, batch: Any) -> Array:
        found: Array = self._logits(batch[0]).numpy()
        return found


class Own(Library):
    """Adam on arrays, for the two libraries that have no optimiser."""

    def __init__(self, task: Task) -> None:
        self.weights = task.weights()
        self.m, self.v = ({name: np.zeros_like(a) for name, a in self.weights.items()} for _ in range(2))
        self.t = 0

    def prepare(self, x: Array, y: Array) -> Any:
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

    def __init__(self, task: Task) -> None:
        super().__init__(task)
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

    def infer(self, batch: Any) -> Array:
        with self.mygrad.no_autodiff:
            p = {name: self.mygrad.tensor(array) for name, array in self.weights.items()}
            found: Array = self.logits(p, batch[0]).data
            return found


class Autograd(Own):
    """HIPS autograd: NumPy, differentiated. The convolution is the only one it has, over windows."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        import autograd
        import autograd.numpy as anp
        from autograd.scipy.signal import convolve

        def logits(p: Any, x: Any) -> Any:
            for layer in ("conv1", "conv2"):
                turned = p[f"{layer}.weight"][:, :, ::-1, ::-1]  # it convolves where a layer correlates
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

    def infer(self, batch: Any) -> Array:
        found: Array = self.logits(self.weights, batch[0])
        return found
