"""`tinyconv bench conv`: a convolution as loops, as a matrix product, tiled, compiled, and PyTorch's.

Forward and backward are timed apart. The loops are timed on one image, and their times are multiplied by the number of
images, which is exact for loops; where even one image takes too long, they are left out.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from harness.floor import gemm_peak
from harness.processes import bind, in_process, reply, variables_for
from harness.timing import in_turns, middle_half, rounded, timed
from tinyconv import ops
from tinyconv.engine.variants import variants_of
from tinyconv.ops import loops
from tinyconv.shapes import conv_output_size

Array = np.ndarray[Any, Any]
LOOPS_AT_MOST = 2_000_000  # multiplications of one image, in Python: 1 to 2 s
TURNS, BURST = 8, 2


class Layer(NamedTuple):
    """A square convolution at stride 1."""

    name: str
    channels: int
    filters: int
    kernel: int
    size: int
    padding: int = 0

    @property
    def macs(self) -> int:
        """Multiplications for one image."""
        out = conv_output_size(self.size, self.kernel, padding=self.padding)
        return out * out * self.filters * self.channels * self.kernel**2


LAYERS = (
    Layer("conv1 5x5, 1 to 6, 28x28", 1, 6, 5, 28),
    Layer("conv2 5x5, 6 to 16, 12x12", 6, 16, 5, 12),
    Layer("3x3, 32 to 32, 32x32", 32, 32, 3, 32, 1),
    Layer("3x3, 64 to 64, 16x16", 64, 64, 3, 16, 1),
    Layer("3x3, 128 to 128, 8x8", 128, 128, 3, 8, 1),
    Layer("3x3, 256 to 256, 8x8", 256, 256, 3, 8, 1),
    Layer("1x1, 64 to 64, 16x16", 64, 64, 1, 16),
)


class TwoLoops:
    """What a lesson writes first: a loop over the places of the window, NumPy's sums inside. Stride 1."""

    @staticmethod
    def forward(
        xp: Any, x: Array, weight: Array, bias: Array, *, stride: Any, padding: Any, dilation: Any, groups: int
    ) -> Any:
        p, (f, _, kh, kw) = padding[0], weight.shape
        x = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
        oh, ow = x.shape[2] - kh + 1, x.shape[3] - kw + 1
        y = np.empty((len(x), f, oh, ow), x.dtype)
        for i in range(oh):
            for j in range(ow):
                y[:, :, i, j] = np.tensordot(x[:, :, i : i + kh, j : j + kw], weight, ([1, 2, 3],) * 2) + bias
        return y, (x, weight)

    @staticmethod
    def backward(
        xp: Any, saved: Any, dy: Array, needs: Any, *, stride: Any, padding: Any, dilation: Any, groups: int
    ) -> Any:
        (x, weight), p = saved, padding[0]
        kh, kw = weight.shape[2:]
        dx, dweight = np.zeros_like(x), np.zeros_like(weight)
        for i in range(dy.shape[2]):
            for j in range(dy.shape[3]):
                part = dy[:, :, i, j]
                dx[:, :, i : i + kh, j : j + kw] += np.tensordot(part, weight, 1)
                dweight += np.tensordot(part, x[:, :, i : i + kh, j : j + kw], ([0], [0]))
        return dx[:, :, p : dx.shape[2] - p, p : dx.shape[3] - p], dweight, dy.sum(axis=(0, 2, 3))


def run(threads: Sequence[int] = (1, 2), batch: int = 128, layers: Sequence[int] | None = None) -> dict[str, Any]:
    """A part for each number of threads; `layers` chooses among LAYERS by number."""
    found = {}
    for count in threads:
        question = {"threads": count, "batch": batch, "layers": list(layers or range(len(LAYERS)))}
        found[f"{count} thread{'s' * (count > 1)}"] = in_process("harness.conv", question, variables_for(count))
    return found


def answer(question: Mapping[str, Any]) -> dict[str, Any]:
    bind(question["threads"])
    return {
        "batch": question["batch"],
        "peak_gflops": gemm_peak(),
        "layers": [measured(LAYERS[i], question["batch"]) for i in question["layers"]],
    }


def measured(layer: Layer, batch: int) -> dict[str, Any]:
    """Compare the results of all implementations of one layer, then measure time, forward and backward, and memory."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, layer.channels, layer.size, layer.size), np.float32)
    weight = rng.standard_normal((layer.filters, layer.channels, layer.kernel, layer.kernel), np.float32)
    bias = rng.standard_normal(layer.filters, np.float32)
    geometry = {"stride": (1, 1), "padding": (layer.padding,) * 2, "dilation": (1, 1), "groups": 1}
    y, saved = ops.Conv2d.forward(np, x, weight, bias, **geometry)
    dy = rng.standard_normal(y.shape, np.float32)
    expected = [y, *ops.Conv2d.backward(np, saved, dy, (True,) * 3, **geometry)]
    rows = []
    functions: dict[str, Callable[[], Any]] = {}
    for name, pair, images in implementations(layer, batch):
        if pair is None:
            rows.append({"name": name, "missing": images})
            continue
        inputs = (x[:images], weight, bias)
        forward, backward, peak = halves(pair, inputs, dy[:images], geometry)
        if images == batch:
            check(name, [forward(), *backward()], expected)
            functions[f"{name} forward"], functions[f"{name} backward"] = forward, backward
        else:
            y_one, kept = ops.Conv2d.forward(np, *inputs, **geometry)
            check(
                name,
                [forward(), *backward()],
                [y_one, *ops.Conv2d.backward(np, kept, dy[:images], (True,) * 3, **geometry)],
            )
        rows.append({"name": name, "images": images, "extra_mib": peak})
        if images != batch:  # scaled: once is enough, and long
            for half, function in (("forward", forward), ("backward", backward)):
                scaled = min(timed(function) for _ in range(2)) * batch / images
                rows[-1][half] = figures([scaled], layer, batch, half)
    samples = in_turns(functions, TURNS, BURST)
    for key, turns in samples.items():
        name, _, half = key.rpartition(" ")
        row = next(row for row in rows if row["name"] == name)
        row[half] = figures([s for turn in turns for s in turn], layer, batch, half)
    return {"layer": layer._asdict(), "macs": layer.macs, "rows": rows, "samples_ms": rounded(samples)}


def implementations(layer: Layer, batch: int) -> list[tuple[str, Any, Any]]:
    """(name, pair, images to time it on), or (name, None, why it is missing)."""
    found: list[tuple[str, Any, Any]] = []
    if layer.macs > LOOPS_AT_MOST:
        found.append(("six loops", None, "one image alone would take seconds"))
    else:
        found.append(("six loops", loops.Conv2d, 1))
    found.append(("two loops", TwoLoops, batch))
    found.append(("im2col", ops.Conv2d, batch))
    for name in ("tiled", "native"):
        rows = variants_of("conv2d").get(name)
        found.append((name, rows[0].pair, batch) if rows else (name, None, "not part of this installation"))
    try:
        import torch
    except ImportError as error:
        found.append(("torch", None, str(error)))
    else:
        found.append(("torch", torch, batch))
    return found


def halves(pair: Any, inputs: Any, dy: Array, geometry: Mapping[str, Any]) -> tuple[Any, Any, float | None]:
    """Forward alone, backward alone (all three gradients), and the most MiB that both together need besides their
    inputs; None for PyTorch, whose memory Python does not trace.

    Images and gradients have the memory order in which the pair itself hands them on.
    """
    if getattr(pair, "__name__", "") == "torch":
        return (*torch_halves(pair, inputs, dy, geometry), None)
    needs = (True,) * 3
    tracemalloc.start()
    y, saved = pair.forward(np, *inputs, **geometry)
    pair.backward(np, saved, dy, needs, **geometry)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    like = np.empty_like(y)  # in the order of y
    like[...] = dy
    x = saved[0] if np.shape(saved[0]) == inputs[0].shape else inputs[0]
    return (
        lambda: pair.forward(np, x, *inputs[1:], **geometry)[0],
        lambda: pair.backward(np, saved, like, needs, **geometry),
        peak,
    )


def torch_halves(torch: Any, inputs: Any, dy: Array, geometry: Mapping[str, Any]) -> tuple[Any, Any]:
    tensors = [torch.tensor(array, requires_grad=True) for array in inputs]
    grad = torch.tensor(dy)

    def forward() -> Any:
        return torch.nn.functional.conv2d(*tensors, padding=geometry["padding"])

    y = forward()

    def backward() -> Any:
        return torch.autograd.grad(y, tensors, grad, retain_graph=True)

    return forward, backward


def check(name: str, found: Sequence[Any], expected: Sequence[Array]) -> None:
    """Raises AssertionError unless these results are those of the readable pair, to rounding."""
    for what, ours, theirs in zip(("y", "dx", "dweight", "dbias"), found, expected, strict=True):
        array = ours.detach().numpy() if hasattr(ours, "detach") else ours
        scale = float(abs(theirs).max())
        worst = float(abs(array - theirs).max())
        assert worst <= 1e-4 * scale, f"{name}: {what} differs by {worst:.2g} of {scale:.2g}; not timed"


def figures(seconds: Sequence[float], layer: Layer, batch: int, half: str) -> dict[str, Any]:
    """Milliseconds a batch and GFLOP/s. Backward does two products where forward does one."""
    usual = median(seconds)
    flops = 2 * layer.macs * batch * (2 if half == "backward" else 1)
    return {
        "ms": 1e3 * usual,
        "quartiles_ms": [1e3 * s for s in middle_half(list(seconds))],
        "gflops": flops / usual / 1e9,
    }


if __name__ == "__main__":
    reply(answer)
