"""The models: their sizes as published, their shapes, and that they learn."""

from ast import literal_eval
from inspect import cleandoc, isclass

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import models
from tinyconv.functional import cross_entropy
from tinyconv.models.imagenet import Bottleneck
from tinyconv.models.lenet import C3_INPUTS, SparseConv2d, glyph_codes


def parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "options", "shape", "count"),
    [
        ("lenet5", {}, (1, 28, 28), 44_426),
        ("lenet5", {"padding": 2}, (1, 28, 28), 61_706),
        ("lenet5", {"size": 32}, (1, 32, 32), 61_706),
        ("lenet5", {"in_channels": 3, "size": 32}, (3, 32, 32), 62_006),
        ("lenet5", {"num_classes": 26}, (1, 28, 28), 44_426 + 16 * 85),
        ("lenet5_1998", {}, (1, 28, 28), 60_000),
        ("lenet5_1998", {"size": 32}, (1, 32, 32), 60_000),
        ("mlp", {"hidden": 128}, (1, 28, 28), 784 * 128 + 128 + 128 * 10 + 10),
        ("mlp", {"hidden": [300, 100]}, (1, 28, 28), 266_610),
        ("cifarnet", {}, (3, 32, 32), 1_972_802),
        ("cifarnet", {"widths": [32, 64, 160]}, (3, 32, 32), 396_930),
        ("lenet_gap", {}, (1, 28, 28), 21_182),
        ("lenet_gap", {"in_channels": 3}, (3, 40, 56), 21_182 + 300),
        ("lenet_vgg", {}, (1, 28, 28), 45_444),
        ("lenet_strided", {}, (1, 28, 28), 107_786),
        ("lenet_bn", {}, (1, 28, 28), 44_652),
        ("resnet", {}, (1, 28, 28), 77_562),
        ("resnet", {"widths": [4], "blocks": 2}, (1, 9, 9), 36 + 8 + 4 * (144 + 8) + 50),
        ("cifarnet", {"widths": [8], "in_channels": 1, "num_classes": 4}, (1, 9, 17), 8 * 5 + 8 * 16 * 9 + 32 + 36),
    ],
)
def test_parameters_and_shapes(name, options, shape, count):
    model = models.create(name, **options)
    assert parameters(model) == count
    assert model(tc.zeros(2, *shape)).shape == (2, options.get("num_classes", 10))


def test_the_public_names_are_those_of_the_table():
    classes = {model.__name__: model for model in models.MODELS.values() if isclass(model)}
    assert len(models.__all__) == len(set(models.__all__))
    functions = {"create", "is_known", "options_for", "register"}
    assert set(models.__all__) == {"IMAGES", "MODELS", *functions, *models.MODELS, *classes}
    for name, model in {**models.MODELS, **classes}.items():
        assert getattr(models, name) is model


@pytest.mark.parametrize("name", [*models.MODELS, "create", "options_for"])
def test_the_example_of_a_docstring_does_what_it_says(name):
    text = cleandoc(getattr(models, name).__doc__).partition("Args:")[0]
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    assert lines
    expression, _, value = lines[-1].partition("  # ")
    scope = {"tc": tc}
    if value:
        exec("\n".join(lines[:-1]), scope)
        assert eval(expression, scope) == literal_eval(value)
    else:
        exec("\n".join(lines), scope)


@pytest.mark.parametrize(("name", "count"), [("alexnet", 61_100_840), ("vgg16", 138_357_544), ("resnet50", 25_557_032)])
def test_the_nets_of_imagenet_by_shape(name, count):
    with tc.device("meta"):
        model = models.create(name)
        assert model(tc.zeros(2, 3, 224, 224)).shape == (2, 1000)
    assert parameters(model) == count


def test_a_small_bottleneck_net_learns():
    """ResNet-50 itself is too large for a test; its blocks are not."""
    tc.manual_seed(0)
    block = Bottleneck(4, 3, 2, "1x1")
    model = tc.nn.Sequential(block, tc.nn.AdaptiveAvgPool2d(1), tc.nn.Flatten(), tc.nn.Linear(12, 2))
    x, y = tc.randn(16, 4, 9, 9), tc.tensor(np.arange(16) % 2)
    assert block(x).shape == (16, 12, 5, 5)
    optimizer = tc.optim.Adam(model.parameters(), lr=1e-2)
    first = last = None
    for _ in range(60):
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        last = loss.item()
        first = first or last
    assert last < 0.5 * first


SMALL = [name for name in models.MODELS if name not in ("alexnet", "vgg16", "resnet50", "cake")]


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_gets_a_gradient_and_the_loss_falls(name):
    tc.manual_seed(0)
    model = models.create(name)
    x = tc.randn(16, 3 if name == "cifarnet" else 1, 28, 28)
    y = tc.tensor(np.arange(16) % 10)
    optimizer = tc.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = cross_entropy(model(x), y)
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_channels_pass_where_the_cifar_net_begins():
    tc.manual_seed(0)
    model = models.cifarnet(widths=[40, 20])
    for place, channels, filters in ((2, 24, 40), (6, 40, 40), (9, 40, 20), (13, 20, 20)):
        weight, passing = model[place].weight.numpy(), min(channels, filters)
        assert weight.shape == (filters, channels, 3, 3)
        x = tc.randn(2, channels, 5, 5)
        np.testing.assert_array_equal(model[place](x).numpy()[:, :passing], x.numpy()[:, :passing])
        assert np.count_nonzero(weight[passing:]) == weight[passing:].size  # the others are drawn
    assert abs(model[-1].weight.numpy()).max() < 1 / 9 / 20**0.5


def test_whitened_patches_are_not_correlated():
    tc.manual_seed(0)
    model = models.cifarnet(widths=[8])
    rng = np.random.default_rng(0)
    # Images as smooth as photographs are: neighbouring pixels, and the channels, are nearly equal.
    noise = rng.standard_normal((60, 3, 40, 40))
    smooth = sum(noise[:, :, i : i + 32, j : j + 32] for i in range(8) for j in range(8)) / 8
    x = (smooth + 2 * smooth.mean(1, keepdims=True)).astype(np.float32)
    model.whiten(x)
    first = model[0]
    assert not first.weight.requires_grad
    assert first.bias.requires_grad
    y = (first(tc.tensor(x)) - first.bias.reshape(1, -1, 1, 1)).numpy()[:, :, 1:-1, 1:-1]
    np.testing.assert_allclose(y[:, 12:], -y[:, :12], rtol=1e-4, atol=1e-4)
    found = np.cov(y[:, :12].transpose(1, 0, 2, 3).reshape(12, -1))
    before = np.corrcoef(x[:, 0, :, :-1].ravel(), x[:, 0, :, 1:].ravel())[0, 1]
    assert before > 0.8, "or there would be nothing to show"
    off = found - np.diag(np.diag(found))
    assert abs(off).max() < 0.1
    assert np.diag(found)[:6] == pytest.approx(1, abs=0.1)
    assert np.all(np.diag(found) < 1.1), "what has next to no variance is not blown up to noise"


def test_whitening_keeps_its_filters_in_a_training():
    model = models.cifarnet(widths=[8])
    x = tc.randn(16, 3, 16, 16)
    model.whiten(x.numpy())
    before = model[0].weight.numpy().copy()
    optimizer = tc.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    cross_entropy(model(x), tc.tensor(np.arange(16) % 10)).backward()
    optimizer.step()
    np.testing.assert_array_equal(model[0].weight.numpy(), before)
    assert model[0].bias.grad is not None


def test_a_cake_is_a_model():
    model = models.create("cake", slices="conv 4 3; relu; pool 2; flatten; fc 10", in_channels=3, size=32)
    assert model(tc.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert list(dict(model.named_children())) == ["conv1", "relu", "pool1", "flatten", "fc1"]
    with pytest.raises(tc.ShapeError, match=r"the cake gives \(4, 26, 26\), .* 10 classes: end it in 'flatten; fc 10'"):
        models.create("cake", slices="conv 4 3")
    with pytest.raises(tc.ShapeError, match=r"the cake gives \(9,\), and there are 10 classes: end it in 'fc 10'"):
        models.create("cake", slices="flatten; fc 9")
    with pytest.raises(tc.CakeError, match="slice 1, 'dough': no slice is called 'dough'"):
        models.create("cake", slices="dough")


def test_options_for_a_dataset():
    assert models.options_for("lenet5", (1, 28, 28), 10) == {}
    assert models.options_for("lenet5", (3, 32, 32), 10) == {"in_channels": 3, "size": 32}
    assert models.options_for("mlp", (3, 32, 32), 26) == {"in_features": 3072, "num_classes": 26}
    assert models.options_for("cifarnet", (1, 28, 28), 10) == {"in_channels": 1}
    for name in SMALL:
        if name != "lenet5_1998":  # which is made for digits alone
            model = models.create(name, **models.options_for(name, (3, 32, 32), 10))
            assert model(tc.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_the_layers_of_1998_have_the_published_sizes():
    model = models.lenet5_1998()
    sizes = {name: parameters(child) for name, child in model.named_children()}
    assert sizes == {"c1": 156, "s2": 12, "c3": 1_516, "s4": 32, "c5": 48_120, "f6": 10_164}


def test_c3_is_table_1():
    connected = ["".join("X" if s2 in row else " " for row in C3_INPUTS) for s2 in range(6)]
    assert connected == [
        "X   XXX  XXXX XX",
        "XX   XXX  XXXX X",
        "XXX   XXX  X XXX",
        " XXX  XXXX  X XX",
        "  XXX  XXXX XX X",
        "   XXX  XXXX XXX",
    ]


def test_a_sparse_convolution_is_a_dense_one_with_zeros():
    tc.manual_seed(1)
    inputs = ((0, 2), (1, 2), (0, 1, 2), (2,))
    sparse = SparseConv2d(inputs, 3)
    assert parameters(sparse) == 8 * 9 + 4
    x = tc.randn(2, 3, 6, 6)
    dense = np.zeros((4, 3, 3, 3), np.float32)
    kernels = iter(sparse.weight.numpy())
    for f, channels in enumerate(inputs):
        for channel in channels:
            dense[f, channel] = next(kernels)
    weight = tc.tensor(dense, requires_grad=True)
    y, expected = sparse(x), tc.functional.conv2d(x, weight, sparse.bias)
    np.testing.assert_array_equal(y, expected)

    y.sum().backward()
    expected.sum().backward()
    there = [(f, channel) for f, channels in enumerate(inputs) for channel in channels]
    np.testing.assert_array_equal(sparse.weight.grad, [weight.grad.numpy()[place] for place in there])


def test_a_sparse_convolution_starts_as_wide_as_its_filters_see():
    tc.manual_seed(0)
    weight = SparseConv2d(((0, 1), tuple(range(40))), 5).weight.numpy()
    for kernels, seen in ((weight[:2], 2), (weight[2:], 40)):
        assert 0.9 / np.sqrt(seen * 25) < np.abs(kernels).max() <= 1 / np.sqrt(seen * 25)


def test_the_glyphs_are_ten_different_pictures_of_84_cells():
    codes = np.array(glyph_codes())
    assert codes.shape == (10, 84)
    assert set(np.unique(codes)) == {-1.0, 1.0}
    differing = (codes[:, None] != codes).sum(2) + 84 * np.eye(10)
    assert differing.min() >= 4


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lenet6", {}, "no model 'lenet6'; there are lenet5, lenet5_1998, mlp, cifarnet"),
        ("lenet5", {"colour": 1}, "model 'lenet5' cannot be built with {'colour': 1}"),
        ("lenet5", {"size": 12}, "images of 12x12 shrink to nothing; 16 is the smallest"),
        ("lenet5_1998", {"size": 20}, "images are 28x28 or 32x32, not 20x20"),
        ("mlp", {"hidden": 0}, "every layer needs at least one feature, got sizes [784, 0, 10]"),
    ],
)
def test_what_cannot_be_built(name, options, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011 (the message is compared below)
        models.create(name, **options)
    assert message in str(error.value)


def test_an_input_of_another_size_names_the_layer():
    with pytest.raises(tc.ShapeError) as error:
        models.lenet5()(tc.zeros(1, 1, 32, 32))
    assert str(error.value) == (
        "linear: expected 256 features (weight is (120, 256)), got (1, 400): if this head follows a flatten, it was "
        "sized for another input; for this one it is nn.Linear(400, ...)\n"
        "  in layer 'fc1': Linear(in_features=256, out_features=120, bias=True)"
    )
