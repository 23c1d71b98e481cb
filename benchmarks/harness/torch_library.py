"""A training step in PyTorch: eager, compiled, and as a CUDA graph, each as its documentation has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from harness.library import Library, Missing
from harness.tasks import Array, Task
from tinyconv import nn


def lenet5(torch: Any, task: Task) -> Any:
    functional = torch.nn.functional

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

    return LeNet5()


def layered(torch: Any, task: Task) -> Any:
    """Layer by layer as ours is made."""
    kinds: dict[type, Callable[[Any], Any]] = {
        nn.Conv2d: lambda m: torch.nn.Conv2d(
            m.in_channels, m.out_channels, m.kernel_size, padding=m.padding, bias=m.bias is not None
        ),
        nn.BatchNorm2d: lambda m: torch.nn.BatchNorm2d(m.num_features),
        nn.ReLU: lambda m: torch.nn.ReLU(),
        nn.GELU: lambda m: torch.nn.GELU(m.approximate),
        nn.MaxPool2d: lambda m: torch.nn.MaxPool2d(m.kernel_size),
        nn.AdaptiveAvgPool2d: lambda m: torch.nn.AdaptiveAvgPool2d(m.output_size),
        nn.AdaptiveMaxPool2d: lambda m: torch.nn.AdaptiveMaxPool2d(m.output_size),
        nn.Flatten: lambda m: torch.nn.Flatten(),
        nn.Linear: lambda m: torch.nn.Linear(m.in_features, m.out_features),
    }
    model: Any = task.model()
    return torch.nn.Sequential(*(kinds[type(layer)](layer) for layer in model))


NETS = {"lenet5": lenet5, "cifarnet": layered, "stack": layered}


class Torch(Library):
    """PyTorch, eager; on a GPU in full float32, and cuDNN chooses its algorithms by trying them."""

    tf32 = False

    def __init__(self, task: Task, device: str = "cpu", **options: bool) -> None:
        """`options` are the optimiser's, besides those of the task."""
        import torch

        self.torch, self.device = torch, torch.device(device)
        self.model: Any = NETS[task.name](torch, task)
        self.model.to(self.device, getattr(torch, task.dtype))
        self.model.load_state_dict({name: torch.tensor(array) for name, array in task.weights().items()})
        self.optimizer = getattr(torch.optim, task.optimizer)(self.model.parameters(), **task.options, **options)

    def prepare(self, x: Array, y: Array) -> Any:
        return self.torch.tensor(x, device=self.device), self.torch.tensor(y, device=self.device)

    def loss(self, x: Any, y: Any) -> Any:
        return self.torch.nn.functional.cross_entropy(self.model(x), y)

    def step(self, batch: Any) -> Any:
        self.optimizer.zero_grad()
        loss = self.loss(*batch)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def infer(self, batch: Any) -> Array:
        with self.torch.no_grad():
            return self.model(batch[0]).numpy()

    def gradients(self) -> dict[str, Array]:
        return {name: p.grad.cpu().numpy() for name, p in self.model.named_parameters()}

    @contextmanager
    def settings(self) -> Iterator[None]:
        products, convolutions = self.torch.backends.cuda.matmul, self.torch.backends.cudnn
        before, products.allow_tf32 = products.allow_tf32, self.tf32
        try:
            with convolutions.flags(enabled=convolutions.enabled, benchmark=True, allow_tf32=self.tf32):
                yield
        finally:
            products.allow_tf32 = before

    def wait(self) -> None:
        self.torch.get_device_module(self.device).synchronize()


class TorchCompiled(Torch):
    """PyTorch, the model compiled; the optimiser is its own fused one."""

    def __init__(self, task: Task) -> None:
        super().__init__(task, fused=True)
        self.model = self.torch.compile(self.model)


class TorchReduced(Torch):
    """PyTorch compiled to reduce overhead: the forward pass and the loss are one CUDA graph, the backward pass is
    another, and the fused optimiser runs outside of them."""

    def __init__(self, task: Task, device: str) -> None:
        super().__init__(task, device, fused=True)
        self.loss = self.torch.compile(self.loss, mode="reduce-overhead")  # type: ignore[method-assign]

    def step(self, batch: Any) -> Any:
        self.torch.compiler.cudagraph_mark_step_begin()  # what the last step returned may be overwritten
        return super().step(batch)


class TorchGraph(Torch):
    """PyTorch, the whole step one CUDA graph, fused optimiser included: three steps on a stream of their own, the
    capture, and then replays, each after its batch was copied to where the graph reads."""

    FIRST = 3

    def __init__(self, task: Task, device: str) -> None:
        # SGD keeps nothing on the host that a graph would have to change; Adam counts its steps, and is told.
        options = {"capturable": True} if task.optimizer == "Adam" else {}
        super().__init__(task, device, fused=True, **options)
        if not self.possible():
            raise Missing("a CUDA graph needs a GPU")
        self.stream, self.calls = self.torch.cuda.Stream(self.device), 0

    def possible(self) -> bool:
        return self.device.type == "cuda" and self.torch.cuda.is_available()

    def step(self, batch: Any) -> Any:
        cuda = self.torch.cuda
        self.calls += 1
        if self.calls <= self.FIRST:
            self.stream.wait_stream(cuda.current_stream(self.device))
            with cuda.stream(self.stream):
                loss = super().step(batch)
            cuda.current_stream(self.device).wait_stream(self.stream)
            return loss
        if self.calls == self.FIRST + 1:
            self.taken = [tensor.clone() for tensor in batch]
            self.graph = cuda.CUDAGraph()
            with cuda.device(self.device), cuda.graph(self.graph):
                self.left = super().step(self.taken)
        for taken, given in zip(self.taken, batch, strict=True):
            taken.copy_(given)
        self.graph.replay()
        return self.left


class TorchTF32(Torch):
    """PyTorch, eager, with the products of convolutions and linear layers in TF32: a mantissa of 10 bits; channels
    last in memory, as tensor cores want them."""

    tf32 = True

    def __init__(self, task: Task, device: str) -> None:
        super().__init__(task, device)
        self.model.to(memory_format=self.torch.channels_last)

    def prepare(self, x: Array, y: Array) -> Any:
        images, labels = super().prepare(x, y)
        return images.to(memory_format=self.torch.channels_last), labels


class TorchBfloat16(TorchTF32):
    """The same under autocast to bfloat16: a mantissa of 7 bits, also for what is stored between layers."""

    def loss(self, x: Any, y: Any) -> Any:
        with self.torch.autocast(self.device.type, self.torch.bfloat16):
            return super().loss(x, y)
