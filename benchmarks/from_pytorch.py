"""Write docs/from_pytorch.md: what works as in PyTorch, what works otherwise and why, and what is not here.

    python benchmarks/from_pytorch.py            # --check: only say whether it is up to date

Every row is code. tests/torch_names runs the rows of the first two tables on both libraries, and asks for the names of
the third, whose words are those of the errors (`tinyconv.torch_names.answers`). The list between them is that of
`tinyconv.testing.decisions`.
"""

import sys
from pathlib import Path

from tinyconv.testing.decisions import DECISIONS
from tinyconv.torch_names.answers import FAMILIES

PAGE = Path(__file__).parents[1] / "docs" / "from_pytorch.md"
INTRO = """\
# Coming from PyTorch

<!-- Written by benchmarks/from_pytorch.py. Do not edit. -->

Names and arguments are PyTorch's. A script runs as it is:

```console
tinyconv run main.py --epochs 1      # `import torch` in it gives tinyconv, `torchvision` what is here of it
```

In Python, `with tinyconv.as_torch():` does the same for a block; or rename the imports once and for all:

```python
import tinyconv as torch
import tinyconv.nn as nn
import tinyconv.nn.functional as F
from tinyconv.torchvision import datasets, transforms
```

A name that is not here stops the script at its line and says what it is and what to use. Every row of the tables below
is run by the tests, on PyTorch too."""

# What is written before a row: the same for both libraries.
START = """
import copy
import io
import math
import pickle

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.optim.lr_scheduler import ExponentialLR, StepLR
from torch.utils.data import DataLoader, Dataset, TensorDataset

x = torch.arange(1.0, 7.0).reshape(2, 3)
w = torch.full((3, 2), 0.5, requires_grad=True)
images = torch.arange(384.0).reshape(2, 3, 8, 8) / 200 - 1
labels = torch.tensor([1, 0])
layer = nn.Linear(3, 2)
nn.init.constant_(layer.weight, 0.25)
nn.init.zeros_(layer.bias)
optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
"""

# What is the same, and code whose last line is a value that both libraries give.
WORKS = [
    ("devices", 'x.to(torch.device("cuda" if torch.cuda.is_available() else "cpu")).device.type'),
    ("dtypes", "x.long().dtype == torch.int64, x.double().dtype == torch.double"),
    ("shapes", "x.size(0), x.shape[1], x.numel(), len(x)"),
    ("`view` with -1", "x.view(-1, 2)"),
    ("the loop", "optimizer.zero_grad(); layer(x).pow(2).mean().backward(); optimizer.step(); layer.weight"),
    ("`no_grad`, as block and decorator", "torch.no_grad()(lambda: (x @ w).requires_grad)()"),
    ("`detach`, `item`, `numpy`", "(x @ w).sum().detach().item(), x.numpy().sum()"),
    ("gradients that add up", "(x @ w).sum().backward(); (x @ w).sum().backward(); w.grad"),
    ("`torch.autograd.grad`", "torch.autograd.grad((x @ w).pow(2).sum(), w)[0]"),
    (
        "gradients of gradients",
        "g = torch.autograd.grad((x @ w).pow(3).sum(), w, create_graph=True)[0]; g.sum().backward(); w.grad",
    ),
    ("hooks of tensors", "w.register_hook(lambda g: 2 * g); (x @ w).sum().backward(); w.grad"),
    (
        "hooks of modules",
        "h = layer.register_forward_hook(lambda m, args, out: out * 2); y = layer(x); h.remove(); y - layer(x)",
    ),
    (
        "`save` and `load`",
        'f = io.BytesIO(); torch.save({"layer": layer.state_dict(), "epoch": 3}, f); f.seek(0); torch.load(f)["epoch"]',
    ),
    ("parameters as a vector", "nn.utils.parameters_to_vector(layer.parameters())"),
    ("a module with `state_dict`", 'sorted(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).state_dict())'),
    ("`load_state_dict`", "other = nn.Linear(3, 2); other.load_state_dict(layer.state_dict()); other(x)"),
    ("`named_parameters`", "[(n, tuple(p.shape)) for n, p in layer.named_parameters()]"),
    ("`train` and `eval`", "nn.Dropout(0.5).eval()(x)"),
    ("`nn.Sequential` by index", "nn.Sequential(nn.ReLU(), nn.Tanh())[1](x)"),
    ("`inplace=True` writes", "y = x - 3; F.relu(y, inplace=True); y"),
    ("freezing", "layer.weight.requires_grad_(False); [p.requires_grad for p in layer.parameters()]"),
    ("`clip_grad_norm_`", "layer(x).sum().backward(); nn.utils.clip_grad_norm_(layer.parameters(), 1.0)"),
    ("convolution", "F.conv2d(images, torch.ones(4, 3, 3, 3), stride=2, padding=1)"),
    ("padding by name", 'F.conv2d(images, torch.ones(4, 3, 3, 3), padding="same").shape'),
    ("groups", "F.conv2d(images, torch.ones(3, 1, 3, 3), groups=3)"),
    ("pooling", "F.max_pool2d(images, 2), F.adaptive_avg_pool2d(images, 1)"),
    ("one image without a batch axis", "F.max_pool2d(images[0], 2)"),
    ("cross entropy", "F.cross_entropy(layer(x), labels, label_smoothing=0.1)"),
    ("log softmax and NLL", "F.nll_loss(F.log_softmax(layer(x), dim=1), labels)"),
    ("arg max", "layer(x).argmax(dim=1).eq(labels).sum().item()"),
    ("`max` along an axis", "x.max(1)"),
    ("`topk`", "x.topk(2, dim=1)"),
    ("reductions", "x.mean(), x.std(dim=0), x.var(unbiased=False), x.sum(dim=(0, 1))"),
    ("broadcasting", "x + torch.ones(3), x * x[:, :1]"),
    ("indexing", "x[:, 1], x[0, ::2], x[x > 2], x[torch.tensor([1, 0])], x[..., None].shape"),
    ("`cat`, `stack`, `split`, `chunk`", "torch.cat([x, x], 1), torch.stack([x, x]), x.split(1), x.chunk(3, dim=1)"),
    ("`einsum`", 'torch.einsum("ij,jk->ik", x, w)'),
    ("NumPy's arrays", "torch.from_numpy(x.numpy()) + 1"),
    (
        "a schedule",
        "s = StepLR(optimizer, 1, 0.5); layer(x).sum().backward(); optimizer.step(); s.step(); s.get_last_lr()",
    ),
    (
        "schedules that multiply",
        "s = [StepLR(optimizer, 1), ExponentialLR(optimizer, 0.5)]; layer(x).sum().backward(); optimizer.step(); "
        '[one.step() for one in s]; optimizer.param_groups[0]["lr"]',
    ),
    (
        "a moving average of weights",
        "from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn; "
        "ema = AveragedModel(layer, multi_avg_fn=get_ema_multi_avg_fn(0.9)); ema.update_parameters(layer); ema(x)",
    ),
    (
        "groups of parameters",
        'torch.optim.SGD([{"params": [layer.weight]}, {"params": [w], "lr": 1.0}], lr=0.1).param_groups[1]["lr"]',
    ),
    ("a dataset and a loader", "[b[0].shape for b in DataLoader(TensorDataset(x, labels), batch_size=2)]"),
    ("a deep copy", "copy.deepcopy(layer)(x)"),
    ("a tensor of a shape", "torch.Tensor(2, 3).shape, nn.Parameter(torch.Tensor(3)).shape"),
    ("`Variable`", "from torch.autograd import Variable; Variable(x, requires_grad=True).requires_grad"),
    (
        "a penalty on a gradient",
        "g = torch.autograd.grad(outputs=(x @ w).pow(2).sum(), inputs=w, create_graph=True, only_inputs=True)[0]; "
        "(g.norm(2) - 1).pow(2).backward(); w.grad",
    ),
    ("switches", "torch.jit.is_scripting(), torch.backends.mps.is_built(), torch.cuda.is_available()"),
    ("`apply` of an initialiser", "layer.apply(lambda m: nn.init.ones_(m.weight))(x)"),
    ("buffers", 'nn.BatchNorm2d(3)(images); m = nn.BatchNorm2d(3); m(images); m.running_mean'),
    ("transposed convolution", "F.conv_transpose2d(images, torch.ones(3, 2, 2, 2), stride=2)"),
    ("im2col", "F.unfold(images, 3, padding=1)"),
    ("spectral norm", "sorted(nn.utils.spectral_norm(nn.Linear(3, 2)).state_dict())"),
    ("printing a shape", 'f"{tuple(x.shape)} {x.sum():.1f}"'),
]  # fmt: skip

# What differs, why, code whose value here is the third, and not PyTorch's.
DIFFERS = [
    (
        "a shape is a plain tuple",
        "there is nothing that a tuple lacks",
        "type(x.shape) is tuple",
        True,
    ),
    (
        "a slice may go backwards",
        "a step below 0 is taken as NumPy takes it; PyTorch refuses it and has `flip` for it, which is here too",
        "x[0, ::-1].equal(x[0].flip(0))",
        True,
    ),
    (
        "a dtype is NumPy's",
        "arrays have it; `torch.float32` is `np.dtype('float32')`, and `str` says `float32`",
        "str(x.dtype)",
        "float32",
    ),
    (
        "a device is a string, equal to its name",
        "it is one; it has `type` and `index` too",
        'torch.device("cpu") == "cpu"',
        True,
    ),
    (
        "the numbers of a seed",
        "they are NumPy's PCG64; the same seed gives the same numbers on every machine",
        "torch.manual_seed(0); round(torch.rand(1).item(), 4)",
        0.8506,
    ),
    (
        "`view` copies where no view can be had",
        "`view` is `reshape`; shapes are a promise, strides are not",
        "x.t().view(6).tolist()",
        [1.0, 4.0, 2.0, 5.0, 3.0, 6.0],
    ),
    (
        "`numpy()` of a tensor that requires grad",
        "gives a read-only array, which cannot harm the tape",
        "w.numpy().tolist()",
        [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]],
    ),
    (
        "a graph is walked once, unless `retain_graph`",
        "whether a second walk works does not depend on which ops are in it",
        "y = (w + 1).sum(); y.backward(); y.backward()",
        "GraphError",
    ),
    (
        "a class index that is none",
        "the loss says which, before anything is computed",
        "F.cross_entropy(layer(x), torch.tensor([1, 2]))",
        "ShapeError",
    ),
    (
        "a whole module in a file",
        "a file holds data and no code: save its `state_dict()`",
        "torch.save(layer, io.BytesIO())",
        "CheckpointError",
    ),
    (
        "float64 as default",
        "the default is always float32; name the dtype, or `model.double()`",
        "torch.set_default_dtype(torch.float64)",
        "DtypeError",
    ),
    (
        "mixed precision",
        "it is not here; `model.half()` is",
        'torch.autocast("cpu")',
        "OptionError",
    ),
    (
        "a file that `save` wrote",
        "it is a safetensors file, which PyTorch reads with `safetensors.torch`; `load` reads files of both",
        'f = io.BytesIO(); torch.save(x, f); f.getvalue()[:2] == b"PK"',
        False,
    ),
    (
        "a loader of nothing",
        "it is refused where it is made",
        "DataLoader([])",
        "DataError",
    ),
    (
        "a learning rate below 0, set later",
        "options are checked at each step",
        'optimizer.param_groups[0]["lr"] = -1.0; layer(x).sum().backward(); optimizer.step()',
        "OptionError",
    ),
    (
        "a `reduction` that is none",
        "it is refused where the loss is made, not where it is called",
        'nn.MSELoss(reduction="average")',
        "ValueError",
    ),
    (
        "what a loss prints",
        "it says how it reduces, on which its number depends",
        "repr(nn.MSELoss())",
        "MSELoss(reduction='mean')",
    ),
    (
        "what a norm prints",
        "as in earlier versions of PyTorch, without `bias`",
        "repr(nn.GroupNorm(1, 3))",
        "GroupNorm(1, 3, eps=1e-05, affine=True)",
    ),
]  # fmt: skip


def table(heads, rows):
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows))


def code(text):
    """Code within a table, in which a line may be drawn through no cell."""
    return "<br>".join(f"`{line.strip()}`" for line in text.replace("|", "\\|").split("; "))


def shown(value):
    return f"raises `{value}`" if isinstance(value, str) and value.endswith("Error") else f"`{value!r}`"


def decisions():
    """Each difference once, with the ops that have it."""
    ops = {}
    for name, differences in sorted(DECISIONS.items()):
        for difference in differences:
            ops.setdefault(difference, []).append(f"`{name}`")
    return "\n".join(f"* {', '.join(names)}: {difference}" for difference, names in ops.items())


def page():
    """The whole page."""
    absent = [[f"`{family.example}`", family.what, family.instead] for family in FAMILIES if family.example]
    return (
        "\n\n".join(
            [
                INTRO.rstrip(),
                "## What works",
                table(["habit", "code"], [[name, code(text)] for name, text in WORKS]),
                "## What works otherwise, and why",
                table(
                    ["habit", "why", "code", "here"],
                    [[name, why, code(text), shown(v)] for name, why, text, v in DIFFERS],
                ),
                "## Where single functions differ",
                "On purpose, each. The tests leave these arguments out of what they ask PyTorch. "
                "[Architecture](architecture.md#where-this-departs-from-pytorch) has what belongs to none.",
                decisions(),
                "## What is not here, and what to use instead",
                "Each row answers a family of names: one of them, what they are, and what the error says to use.",
                table(["name", "what it is", "instead"], absent),
            ]
        )
        + "\n"
    )


def main():
    if "--check" in sys.argv:
        raise SystemExit(PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
