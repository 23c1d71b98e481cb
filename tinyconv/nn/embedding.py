"""Tables of vectors that are learned, one for each number.

In the examples `tc` is `tinyconv` and `nn` is `tinyconv.nn`.
"""

from __future__ import annotations

from typing import Self

from tinyconv import functional as F
from tinyconv.engine.context import no_grad
from tinyconv.engine.dtypes import Dtype
from tinyconv.engine.options import finite, real
from tinyconv.errors import ShapeError
from tinyconv.nn import init
from tinyconv.nn.module import Module, Parameter
from tinyconv.shapes import whole
from tinyconv.tensor.creation import zeros
from tinyconv.tensor.tensor import Tensor

__all__ = ["Embedding"]


class Embedding(Module):
    """A learned vector for each number: integers (...) give (..., embedding_dim). Like `torch.nn.Embedding`.

    `weight` is (num_embeddings, embedding_dim), normal at first.

        nn.Embedding(10, 3)(tc.tensor([[1, 2, 9]])).shape  # (1, 3, 3)

    Args:
        num_embeddings: The number of vectors.
        embedding_dim: Their size.
        padding_idx: A number whose vector starts at 0 and is not trained; negative numbers count from the end.
        max_norm: Vectors that are used and longer than this are shortened to it first.
        norm_type: The norm that says how long a vector is.
        scale_grad_by_freq: Not here: a call raises OptionError where it is True.
        sparse: Changes nothing, for gradients are whole tensors here.
        device: Where the weight is made; the default device unless given.
        dtype: float32 unless given; or float64.

    Raises ShapeError for sizes that are no integers >= 0 or a `padding_idx` that is no row, DtypeError for another
    dtype, and OptionError where a norm is no number. A call raises what `functional.embedding` does.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        device: str | None = None,
        dtype: Dtype = None,
    ) -> None:
        super().__init__()
        self.num_embeddings = whole(num_embeddings, "Embedding: num_embeddings", minimum=0)
        self.embedding_dim = whole(embedding_dim, "Embedding: embedding_dim", minimum=0)
        self.padding_idx = None
        if padding_idx is not None:
            row = whole(padding_idx, "Embedding: padding_idx")
            if not -self.num_embeddings <= row < self.num_embeddings:
                raise ShapeError(f"Embedding: padding_idx {row} is none of the {self.num_embeddings} rows")
            self.padding_idx = row % self.num_embeddings
        self.max_norm = None if max_norm is None else finite("Embedding: max_norm", max_norm)
        self.norm_type = real("Embedding: norm_type", norm_type)
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        self.weight = Parameter(zeros(self.num_embeddings, self.embedding_dim, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the vectors anew, from normal numbers; that of `padding_idx` is 0."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Self:
        """An Embedding with these vectors, (num_embeddings, embedding_dim).

        `freeze` says that they are not trained; the others are those of the class. Raises ShapeError where they are no
        matrix, and what the class does.
        """
        if embeddings.ndim != 2:
            raise ShapeError(f"from_pretrained: expected (num_embeddings, embedding_dim), got {embeddings.shape}")
        rows, size = embeddings.shape
        rest = padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse
        layer = cls(rows, size, *rest, device=embeddings.device, dtype=embeddings.dtype)
        layer.weight = Parameter(embeddings, not freeze)
        return layer

    def forward(self, input: Tensor) -> Tensor:
        rest = self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse
        return F.embedding(input, self.weight, *rest)

    def extra_repr(self) -> str:
        usual = {"padding_idx": None, "max_norm": None, "norm_type": 2, "scale_grad_by_freq": False}
        parts = [f"{name}={getattr(self, name)}" for name, value in usual.items() if getattr(self, name) != value]
        return ", ".join([f"{self.num_embeddings}, {self.embedding_dim}", *parts, *["sparse=True"] * bool(self.sparse)])
