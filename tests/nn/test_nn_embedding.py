"""Tables of vectors, against torch: lookups, gradients, padding, norms, and what is refused."""

import numpy as np
import pytest
from messages import message
from oracle import assert_allclose

import tinyconv as tc
import tinyconv.functional as F
from tinyconv import nn

torch = pytest.importorskip("torch")
TABLE = np.random.default_rng(0).standard_normal((7, 3))
INDEX = np.array([[0, 6, 2], [2, 2, 5]])


@pytest.mark.parametrize("options", [{}, {"padding_idx": 2}, {"padding_idx": -1}, {"max_norm": 1.0}], ids=str)
@pytest.mark.parametrize(
    "index", [INDEX, INDEX[0], np.array(3), np.zeros((0, 2), np.int64)], ids=lambda i: str(i.shape)
)
def test_embedding(options, index):
    found = []
    for library in (tc, torch):
        layer = library.nn.Embedding(7, 3, **options, dtype=library.float64)
        with library.no_grad():
            assert options.get("padding_idx") is None or layer.weight[options["padding_idx"]].tolist() == [0.0] * 3
            layer.weight.copy_(library.tensor(TABLE))
        y = layer(library.tensor(index))
        (y * y).sum().backward()
        found.append([repr(layer), list(layer.state_dict()), y.detach(), layer.weight.grad, layer.weight.detach()])
    assert found[0][:2] == found[1][:2]
    for ours, theirs in zip(found[0][2:], found[1][2:], strict=True):
        assert_allclose(ours, theirs.numpy(), rtol=1e-6, atol=1e-12)


def test_vectors_that_are_given():
    layer = nn.Embedding.from_pretrained(tc.tensor(TABLE))
    assert not layer.weight.requires_grad
    assert layer(tc.tensor([1])).tolist() == TABLE[[1]].tolist()
    assert nn.Embedding.from_pretrained(tc.tensor(TABLE), freeze=False).weight.requires_grad


def test_what_an_embedding_refuses():
    table = tc.tensor(TABLE)
    assert message(tc.ShapeError, F.embedding, tc.tensor([0, 7]), table) == (
        "embedding: the table has 7 rows, so indices must be 0 to 6, got 0 to 7"
    )
    assert "got -1 to 0" in message(tc.ShapeError, F.embedding, tc.tensor([0, -1]), table)
    assert message(tc.DtypeError, F.embedding, tc.ones(2), table) == (
        "embedding: the input must be integers, rows of the table, got float32: x.long()?"
    )
    assert message(tc.ShapeError, nn.Embedding, 7, 3, 7) == "Embedding: padding_idx 7 is none of the 7 rows"
    assert message(tc.ShapeError, F.embedding, tc.tensor([0]), table, 9) == (
        "embedding: padding_idx 9 is no row of a table of shape (7, 3)"
    )
    assert "scale_grad_by_freq is not here" in message(
        tc.OptionError, nn.Embedding(7, 3, scale_grad_by_freq=True), tc.tensor([0])
    )


def test_in_a_captured_step():
    layers = [nn.Embedding.from_pretrained(tc.tensor(TABLE, dtype=tc.float32), freeze=False) for _ in range(2)]
    optimizers = [tc.optim.SGD(layer.parameters(), lr=0.1) for layer in layers]

    def step(layer, optimizer, index):
        optimizer.zero_grad()
        loss = (layer(index) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    captured = tc.capture(lambda index: step(layers[0], optimizers[0], index))
    for i in range(5):
        index = tc.tensor((INDEX + i) % 7)
        assert_allclose(captured(index).item(), step(layers[1], optimizers[1], index).item(), rtol=1e-5)
    assert_allclose(layers[0].weight, layers[1].weight, rtol=1e-5)
