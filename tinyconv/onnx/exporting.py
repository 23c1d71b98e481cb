"""Models written as ONNX files: one file, the batch free, and nothing written that was not run and compared."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, shape_inference
from onnx.reference import ReferenceEvaluator

from tinyconv.data.datasets import normalize
from tinyconv.engine.context import no_grad
from tinyconv.errors import OnnxError, OptionError, printable
from tinyconv.host.files import atomic
from tinyconv.nn import Module
from tinyconv.onnx.rules import COMPUTED, RULES
from tinyconv.onnx.traced import Traced, held_names, traced
from tinyconv.onnx.writer import IR_VERSIONS, Arg, Writer, info
from tinyconv.shapes import Shape
from tinyconv.tensor.tensor import wrap

BATCHES = (1, 3, 7)
"""The batches with which every file is tried; it was recorded with 2 and 3."""
ROUNDINGS = 128
"""How far the scores of another runtime may be from ours: so many roundings of the largest one. A runtime may add up in
another order, and layers pass the difference on."""

LARGEST = 2**31 - 2**20
"""The bytes of weights that one file holds: protobuf ends at 2 GiB."""


@dataclass(frozen=True)
class Report:
    """What `export` has written, and how well other runtimes agree with the model.

    Attributes:
        path: The file.
        opset, ir_version: The versions of the operators and of the format.
        bytes: The size of the file.
        parameters: How many numbers the initialisers have.
        macs: The multiply-accumulates for one image.
        operators: How often each operator occurs.
        inputs, outputs: A line for each: its name, dtype and shape.
        difference: The largest difference between a score of the model and one of a runtime.
        allowed: The difference that rounding may make.
        differences: The largest difference of each runtime that ran it, by name.
        failures: What the others said, by name: one lacks an operator for float64, say.
        batches: The batches that were compared.
    """

    path: Path
    opset: int
    ir_version: int
    bytes: int
    parameters: int
    macs: int
    operators: dict[str, int]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    difference: float
    allowed: float
    differences: dict[str, float]
    failures: dict[str, str]
    batches: tuple[int, ...] = BATCHES

    def __str__(self) -> str:
        """The report as the command prints it."""
        kinds = ", ".join(f"{kind} {count}" for kind, count in self.operators.items())
        each = ", ".join(f"{name} {found:.1e}" for name, found in self.differences.items())
        batches = ", ".join(map(str, self.batches))
        return "\n".join(
            [
                f"{self.path}: {self.bytes:,} bytes, opset {self.opset}, IR {self.ir_version}",
                f"  {'; '.join(self.inputs)} -> {'; '.join(self.outputs)}",
                f"  {self.parameters:,} parameters, {self.macs:,} multiply-accumulates an image",
                f"  nodes: {kinds}",
                f"  largest difference {self.difference:.1e} ({each}), of {self.allowed:.1e} that rounding may make, "
                f"in batches of {batches}",
                *(f"  {name} cannot run it: {said}" for name, said in self.failures.items()),
            ]
        )


def export(
    model: Module,
    image: Sequence[int],
    path: str | os.PathLike[str],
    *,
    opset: int = 18,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    classes: Sequence[str] = (),
    metadata: Mapping[str, str] | None = None,
) -> Report:
    """Write a model as an ONNX file, and compare what other runtimes make of it.

        report = tc.onnx.export(model, (1, 28, 28), "lenet5.onnx")
        print(report.difference)

    The graph is that of evaluation mode, whatever mode the model is in. It takes `images` and gives `scores`, and the
    first axis of both is free. Initialisers have the names that `state_dict` gives them, nodes begin with the path of
    their layer, and every tensor has a shape. With `mean` and `std` the graph takes pixels, uint8 from 0 to 255, and
    normalises them as `ImageDataset.normalized` does; without, it takes what the model takes.

    The file is run with batches of 1, 3 and 7 by onnx's reference implementation, and by onnxruntime where that is
    installed. Where it cannot be written, or a score is further off than rounding explains, no file is left.

    Args:
        model: A module whose `forward` takes a batch of images and returns a tensor.
        image: The shape of one image, (C, H, W), or of whatever one example is.
        path: The file. One that exists is replaced in one step.
        opset: The version of the operators, 17 to 22; the format (IR) is the oldest that has it, 8 for 18.
        mean, std: A number for each channel, of pixels from 0 to 1.
        classes: The names of the scores, which the metadata keep.
        metadata: Other things to keep in the file, by name.

    Returns a Report. Raises OnnxError, which names the layer, for an op that has no ONNX form here, where the batch
    decides what the graph is, and where a runtime disagrees; ShapeError where the model does not take such images;
    OptionError for another opset, or mean and std of another length; and OSError where `path` cannot be written.
    """
    if opset not in IR_VERSIONS:
        raise OptionError(f"export: opset must be {min(IR_VERSIONS)} to {max(IR_VERSIONS)}, got {opset}")
    shape, pixels = tuple(image), _pixels(tuple(image), mean, std)
    path = Path(path)
    with _evaluating(model) as still:
        dtype = next((p.dtype for p in still.parameters() if p.dtype.kind == "f"), np.dtype(np.float32))
        rng = np.random.default_rng(0)
        draw = _drawer(rng, shape, dtype)
        found = traced(still, lambda n: wrap(draw(n)))
        about = dict(metadata or {}) | _about(found, classes, pixels)
        proto = build(found, _names(still), opset, about, pixels)
        if pixels is None:
            sample: Callable[[int], Any] = draw
            answer: Callable[[Any], Any] = lambda x: x  # noqa: E731
        else:
            sample = lambda n: rng.integers(0, 256, (n, *shape), np.uint8)  # noqa: E731
            answer = lambda x: normalize(x, *pixels).astype(dtype)  # noqa: E731

        def expected(x: Any) -> Any:
            with no_grad():
                return still(wrap(answer(x))).array

        differences, failures, allowed = compared(proto, sample, expected)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as beside:
        beside.write_bytes(data := proto.SerializeToString())
    return Report(
        path=path,
        opset=opset,
        ir_version=proto.ir_version,
        bytes=len(data),
        parameters=sum(int(np.prod(one.dims)) for one in proto.graph.initializer),
        macs=int(about["macs"]),
        operators=dict(Counter(node.op_type for node in proto.graph.node)),
        inputs=tuple(map(_line, proto.graph.input)),
        outputs=tuple(map(_line, proto.graph.output)),
        difference=max(differences.values()),
        allowed=allowed,
        differences=differences,
        failures=failures,
    )


Pixels = tuple[tuple[float, ...], tuple[float, ...]]


def _pixels(image: Shape, mean: Any, std: Any) -> Pixels | None:
    """Mean and standard deviation, or None where the graph does not normalise."""
    if mean is None and std is None:
        return None
    if mean is None or std is None:
        raise OptionError("export: mean and std belong together: give both, or neither")
    found = tuple(map(float, mean)), tuple(map(float, std))
    if not (len(found[0]) == len(found[1]) == (image[0] if len(image) == 3 else -1)):
        raise OptionError(
            f"export: mean and std need a number for each channel of images (C, H, W), got {len(found[0])} and "
            f"{len(found[1])} for {image}"
        )
    if not all(std > 0 for std in found[1]):
        raise OptionError(f"export: std must be above 0, got {found[1]}")
    return found


def _drawer(rng: np.random.Generator, shape: Shape, dtype: Any) -> Callable[[int], Any]:
    return lambda n: rng.standard_normal((n, *shape)).astype(dtype)


@contextmanager
def _evaluating(model: Module) -> Iterator[Module]:
    """The model in evaluation mode, on the CPU; afterwards it is in the modes that it was in."""
    if any(t.device.type != "cpu" for t in [*model.parameters(), *model.buffers()]):
        yield deepcopy(model).cpu().eval()
        return
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield model
    finally:
        for module, mode in modes:
            module.training = mode


def _names(model: Module) -> dict[int, str]:
    """The names of a model's tensors, those of `state_dict`, by the ids of their arrays."""
    kept = model.state_dict().keys()
    named = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }
    return held_names({name: tensor for name, tensor in named.items() if name in kept})


def _about(found: Traced, classes: Sequence[str], pixels: Pixels | None) -> dict[str, str]:
    """What the file says of itself."""
    about = {"macs": str(found.macs // found.program.inputs[0].shape[0])}
    if classes:
        about["classes"] = "\n".join(classes)
    if pixels is not None:
        about |= {name: " ".join(map(repr, values)) for name, values in zip(("mean", "std"), pixels, strict=True)}
    return about


def build(
    found: Traced,
    names: Mapping[int, str],
    opset: int = 18,
    metadata: Mapping[str, str] | None = None,
    pixels: Pixels | None = None,
    inputs: Sequence[str] = ("images",),
    outputs: Sequence[str] = ("scores",),
) -> onnx.ModelProto:
    """The ONNX model of a traced function: inferred shapes included, and nothing checked yet."""
    from tinyconv import __version__

    program = found.program
    w = Writer(found, names, opset, RULES, COMPUTED)
    w.reserve(*inputs, *outputs, *names.values())
    given = []
    for name, value in zip(inputs, program.inputs, strict=True):
        shape = found.shapes[value.number]
        w.args[value.number] = Arg(name, value.dtype, shape)
        given.append(info(name, np.uint8 if pixels else value.dtype, shape))
        if pixels:
            w.batch_of = Arg(name, np.dtype(np.uint8), shape)
            w.args[value.number] = _normalised(w, Arg(name, np.dtype(np.uint8), shape), value.dtype, pixels)
    w.write()
    results = []
    for name, value in zip(outputs, program.results, strict=True):
        w.layer = ""
        results.append(w.result(name, value))
    if (size := sum(len(one.raw_data) for one in w.initializers)) >= LARGEST:
        raise OnnxError(f"export: the weights take {size:,} bytes, and one ONNX file holds less than {LARGEST:,}")
    graph = helper.make_graph(w.nodes, "tinyconv", given, results, w.initializers, value_info=w.described())
    model = helper.make_model(
        graph,
        ir_version=IR_VERSIONS[opset],
        opset_imports=[helper.make_opsetid("", opset)],
        producer_name="tinyconv",
        producer_version=__version__,
    )
    helper.set_model_props(model, dict(metadata or {}))
    try:
        return shape_inference.infer_shapes(model, strict_mode=True)
    except shape_inference.InferenceError as error:
        raise OnnxError(f"export: onnx finds fault with the graph: {printable(str(error))}") from error


def _normalised(w: Writer, x: Arg, dtype: Any, pixels: Pixels) -> Arg:
    """`(x / 255 - mean) / std` with the roundings of `normalize`: one product and one sum, in float32."""
    mean, std = (np.array(values, np.float64)[:, None, None] for values in pixels)
    w.layer = "normalize"
    scaled = w("Mul", w.cast(x, np.float32), w.constant(1 / (255 * std), np.float32))
    y = w.cast(w("Add", scaled, w.constant(-mean / std, np.float32)), dtype)
    return Arg(y.name, y.dtype, x.shape)


def check(model: onnx.ModelProto) -> None:
    """Raise OnnxError where the model breaks a rule of the standard: a dtype that an operator does not take, say."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, shape_inference.InferenceError) as error:
        raise OnnxError(f"export: onnx finds fault with the graph: {printable(str(error))}") from error


def compared(
    model: onnx.ModelProto,
    sample: Callable[[int], Any],
    expected: Callable[[Any], Any],
    batches: Sequence[int] = BATCHES,
) -> tuple[dict[str, float], dict[str, str], float]:
    """The largest difference of each runtime from what is expected, what those said that failed, and the difference
    that rounding may make.

    `sample(n)` makes a batch, `expected` says what comes of it. Raises OnnxError where the model is not valid, where no
    runtime runs it, and where one gives another shape or dtype, or is further off than that.
    """
    check(model)
    name = model.graph.input[0].name
    differences, failures = dict[str, float](), dict[str, str]()
    asked = [(x := sample(n), expected(x)) for n in batches]
    largest = max((float(np.abs(y[np.isfinite(y)]).max(initial=0)) for _, y in asked), default=0.0)
    allowed = ROUNDINGS * largest * float(np.finfo(asked[0][1].dtype).eps) if asked[0][1].dtype.kind == "f" else 0.0
    for runtime, run in runtimes(model):
        for x, y in asked:
            try:
                (found,) = run({name: x})
            except Exception as error:  # whatever a runtime raises
                said = printable(f"{type(error).__name__}: {error}".partition("\n")[0])
                failures[runtime] = f"with a batch of {len(x)}, {said}"
                break
            if found.shape != y.shape or found.dtype != y.dtype:
                raise OnnxError(
                    f"export: {runtime} gives {found.dtype} {found.shape} for a batch of {len(x)}, and the model "
                    f"{y.dtype} {y.shape}"
                )
            off = difference(found, y)
            differences[runtime] = max(off, differences.get(runtime, 0.0))
            if not off <= allowed:
                raise OnnxError(
                    f"export: {runtime} gives other scores: they differ by {off:.2e} in a batch of {len(x)}, where "
                    f"rounding makes {allowed:.2e}; nothing is written"
                )
        else:
            continue
        differences.pop(runtime, None)
    if not differences:
        said = "; ".join(f"{runtime} fails {why}" for runtime, why in failures.items())
        raise OnnxError(f"export: no runtime runs the graph: {said}")
    return differences, failures, allowed


def difference(found: Any, expected: Any) -> float:
    """The largest difference; infinity where a NaN or an infinity is in another place."""
    if found.dtype.kind != "f":
        return 0.0 if np.array_equal(found, expected) else np.inf
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        off = np.where(same, 0, np.abs(found.astype(np.float64) - expected.astype(np.float64)))
    return float(np.where(np.isnan(off), np.inf, off).max(initial=0))


Run = Callable[[Mapping[str, Any]], Sequence[Any]]


def runtimes(model: onnx.ModelProto) -> Iterator[tuple[str, Run]]:
    """What can run a model here: onnx's reference implementation, and onnxruntime where it is installed."""
    reference = ReferenceEvaluator(model)

    def run(inputs: Mapping[str, Any]) -> Sequence[Any]:
        with np.errstate(all="ignore"):
            return [np.asarray(y) for y in reference.run(None, dict(inputs))]

    yield "onnx's reference", run
    if find_spec("onnxruntime") is not None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        data = model.SerializeToString()

        @cache
        def session() -> Any:
            return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

        yield "onnxruntime", lambda inputs: session().run(None, dict(inputs))


def _line(one: onnx.ValueInfoProto) -> str:
    """`images: float32 (batch, 1, 28, 28)`."""
    kind = one.type.tensor_type
    sizes = ", ".join(str(dim.dim_param or dim.dim_value) for dim in kind.shape.dim)
    return f"{one.name}: {helper.tensor_dtype_to_np_dtype(kind.elem_type)} ({sizes})"
