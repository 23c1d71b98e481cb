"""Every layer and loss against torch's module with the same state: outputs, gradients, buffers, and how it prints."""

import numpy as np
import pytest
from messages import message
from oracle import assert_allclose, assert_array_equal, host

import tinyconv as tc
from tinyconv import nn

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.usefixtures("everywhere")


def image(n=2, c=4, h=7, w=6):
    return np.random.default_rng(0).standard_normal((n, c, h, w)).astype(np.float32)


ROWS = image()[:, :, 0, 0]
SEQUENCES = image()[:, :, :, 0]

LAYERS = [
    ("Conv2d", (4, 6, 3), {}, image()),
    ("Conv2d", (4, 6, (3, 2)), {"stride": (2, 1), "padding": (1, 0), "groups": 2, "bias": False}, image()),
    ("Conv2d", (4, 6, 3), {"dilation": (1, 2)}, image()),
    ("Conv2d", (4, 6, (3, 5)), {"padding": "same"}, image()),
    ("Conv2d", (4, 6, 3), {"padding": "valid"}, image()),
    ("Linear", (4, 3), {}, ROWS),
    ("Linear", (6, 3), {"bias": False}, image()),
    ("MaxPool2d", (2,), {}, image()),
    ("MaxPool2d", (3,), {"stride": 2, "padding": 1, "ceil_mode": True}, image()),
    ("AvgPool2d", (2,), {}, image()),
    ("AvgPool2d", (3,), {"stride": 2, "padding": 1, "count_include_pad": False}, image()),
    ("AvgPool2d", (3,), {"divisor_override": 2}, image()),
    ("AdaptiveAvgPool2d", (1,), {}, image()),
    ("AdaptiveAvgPool2d", ((3, None),), {}, image()),
    ("AdaptiveMaxPool2d", ((3, 2),), {}, image()),
    ("BatchNorm1d", (4,), {}, ROWS),
    ("BatchNorm1d", (4,), {}, SEQUENCES),
    ("BatchNorm2d", (4,), {}, image()),
    ("BatchNorm2d", (4,), {"eps": 0.1, "momentum": 0.3, "affine": False}, image()),
    ("BatchNorm2d", (4,), {"momentum": None}, image()),
    ("BatchNorm2d", (4,), {"track_running_stats": False}, image()),
    ("LayerNorm", (6,), {}, image()),
    ("LayerNorm", ((7, 6),), {"eps": 0.1, "bias": False}, image()),
    ("LayerNorm", (6,), {"elementwise_affine": False}, image()),
    ("Flatten", (), {}, image()),
    ("Flatten", (0, 2), {}, image()),
    ("Identity", (), {}, image()),
    ("ReLU", (), {}, image()),
    ("LeakyReLU", (), {}, image()),
    ("LeakyReLU", (0.2,), {}, image()),
    ("GELU", (), {}, image()),
    ("GELU", ("tanh",), {}, image()),
    ("Sigmoid", (), {}, image()),
    ("Tanh", (), {}, image()),
    ("SiLU", (), {}, image()),
    ("Softmax", (1,), {}, image()),
    ("LogSoftmax", (-1,), {}, image()),
    ("Dropout", (0.0,), {}, image()),
]  # fmt: skip


def build(name, args, options):
    """Our layer and torch's, with the same state, that of one which has been trained a little."""
    ours, theirs = getattr(nn, name)(*args, **options), getattr(torch.nn, name)(*args, **options)
    with torch.no_grad():
        for t in [*theirs.parameters(), *theirs.buffers()]:
            if t.is_floating_point():
                t.uniform_(0.5, 1.5)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def compare(ours, theirs, *inputs, grad_of=1):
    """One forward and backward pass through both: outputs and gradients, of inputs and parameters, must agree."""
    our_inputs = [tc.tensor(x, requires_grad=i < grad_of) for i, x in enumerate(inputs)]
    their_inputs = [torch.tensor(x, requires_grad=i < grad_of) for i, x in enumerate(inputs)]
    y, expected = ours(*our_inputs), theirs(*their_inputs)
    largest = abs(expected).max().item() if expected.numel() else 0.0  # sums round by the size of their terms
    assert_allclose(y, expected.detach(), rtol=2e-5, atol=2e-6 + 2e-7 * largest)
    assert y.dtype == tc.float32
    seed = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
    y.backward(tc.tensor(seed))
    expected.backward(torch.tensor(seed))
    pairs = [
        *zip(our_inputs[:grad_of], their_inputs, strict=False),
        *zip(ours.parameters(), theirs.parameters(), strict=True),
    ]
    for a, b in pairs:
        assert_allclose(a.grad, b.grad, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(("name", "args", "options", "x"), LAYERS)
def test_layers(name, args, options, x, training):
    ours, theirs = build(name, args, options)
    ours.train(training)
    theirs.train(training)
    compare(ours, theirs, x)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, buffer in theirs.named_buffers():
        assert_allclose(dict(ours.named_buffers())[key], buffer, rtol=1e-5, atol=1e-6)


def test_running_statistics_over_several_batches():
    for momentum in (0.1, None):
        ours, theirs = nn.BatchNorm2d(4, momentum=momentum), torch.nn.BatchNorm2d(4, momentum=momentum)
        for i in range(3):
            ours(tc.tensor(image() + i))
            theirs(torch.tensor(image() + i))
        for key, t in theirs.state_dict().items():
            assert_allclose(ours.state_dict()[key], t.detach(), rtol=1e-5, atol=1e-6)
        assert ours.num_batches_tracked.item() == 3
        before = {key: t.tolist() for key, t in ours.state_dict().items()}
        ours.eval()(tc.tensor(image()))
        assert {key: t.tolist() for key, t in ours.state_dict().items()} == before


def test_max_pool_with_indices():
    ours, theirs = nn.MaxPool2d(2, return_indices=True), torch.nn.MaxPool2d(2, return_indices=True)
    for a, b in zip(ours(tc.tensor(image())), theirs(torch.tensor(image())), strict=True):
        assert_array_equal(a, b)


def test_dropout():
    tc.manual_seed(0)
    x = tc.ones(100_000, requires_grad=True)
    layer = nn.Dropout(0.25)
    y = layer(x)
    assert set(np.unique(host(y))) == {np.float32(0), np.float32(1 / 0.75)}
    assert (y == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    y.sum().backward()
    assert_array_equal(x.grad, y.detach())
    assert layer.eval()(x) is x
    assert nn.Dropout(1.0)(x).tolist() == [0.0] * 100_000


# --- losses ---------------------------------------------------------------------------------------------------------

SCORES = image()[:, :, 0, :3]  # (2, 4, 3)
CLASSES = np.array([[0, 3, 1], [2, 2, 0]])
WEIGHT = np.array([0.5, 1.0, 2.0, 0.1], np.float32)
PROBABILITIES = np.random.default_rng(2).dirichlet(np.ones(4), (2, 3)).transpose(0, 2, 1).astype(np.float32)
SIGNS = np.where(np.random.default_rng(3).standard_normal((2, 4, 3)) > 0, 1, -1).astype(np.float32)
ROWS, OTHER_ROWS = SCORES[:, 0], SCORES[:, 1]

LOSSES = [
    ("CrossEntropyLoss", {}, (SCORES, CLASSES)),
    ("CrossEntropyLoss", {"weight": WEIGHT, "ignore_index": 2, "label_smoothing": 0.1}, (SCORES, CLASSES)),
    ("CrossEntropyLoss", {"label_smoothing": 0.1}, (SCORES, PROBABILITIES)),
    ("NLLLoss", {"weight": WEIGHT, "ignore_index": 3}, (SCORES, CLASSES)),
    ("MSELoss", {}, (SCORES, PROBABILITIES)),
    ("L1Loss", {}, (SCORES, PROBABILITIES)),
    ("BCELoss", {"weight": WEIGHT[1:]}, (PROBABILITIES, PROBABILITIES)),
    ("HuberLoss", {"delta": 0.3}, (SCORES, PROBABILITIES)),
    ("SmoothL1Loss", {"beta": 0.3}, (SCORES, PROBABILITIES)),
    ("PoissonNLLLoss", {"full": True}, (SCORES, PROBABILITIES)),
    ("GaussianNLLLoss", {"eps": 0.5}, (SCORES, PROBABILITIES, PROBABILITIES)),
    ("HingeEmbeddingLoss", {"margin": 2.0}, (SCORES, SIGNS)),
    ("MarginRankingLoss", {"margin": 0.5}, (SCORES, PROBABILITIES, SIGNS)),
    ("CosineEmbeddingLoss", {"margin": 0.1}, (ROWS, OTHER_ROWS, SIGNS[:, 0, 0])),
    ("TripletMarginLoss", {"swap": True, "margin": 3.0}, (ROWS, OTHER_ROWS, ROWS[::-1].copy())),
    ("SoftMarginLoss", {}, (SCORES, SIGNS)),
    ("MultiMarginLoss", {"p": 2, "weight": WEIGHT[1:]}, (ROWS, np.array([2, 0]))),
    ("MultiLabelSoftMarginLoss", {}, (SCORES, (SIGNS + 1) / 2)),
    ("KLDivLoss", {"log_target": True}, (SCORES, PROBABILITIES)),
    ("BCEWithLogitsLoss", {}, (SCORES, PROBABILITIES)),
    ("BCEWithLogitsLoss", {"pos_weight": WEIGHT[:3], "weight": WEIGHT[1:]}, (SCORES, PROBABILITIES)),
]


@pytest.mark.filterwarnings("ignore:kl_div", "ignore:reduction")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("name", "options", "inputs"), LOSSES)
def test_losses(name, options, inputs, reduction):
    def make(library, tensor):
        given = {key: tensor(value) if isinstance(value, np.ndarray) else value for key, value in options.items()}
        return getattr(library, name)(**given, reduction=reduction)

    compare(make(nn, tc.tensor), make(torch.nn, torch.tensor), *inputs)


@pytest.mark.parametrize(("loss", "name"), [(nn.MSELoss(), "mse_loss"), (nn.L1Loss(), "l1_loss")])
def test_targets_that_do_not_broadcast(loss, name):
    assert message(tc.ShapeError, loss, tc.ones(2), tc.ones(3)) == f"{name}: shapes (2,) and (3,) do not broadcast"


def test_weights_of_a_loss_move_with_it_and_are_saved():
    for ours, theirs in (
        (nn.CrossEntropyLoss(weight=tc.ones(3)), torch.nn.CrossEntropyLoss(weight=torch.ones(3))),
        (nn.BCEWithLogitsLoss(pos_weight=tc.ones(3)), torch.nn.BCEWithLogitsLoss(pos_weight=torch.ones(3))),
        (nn.NLLLoss(), torch.nn.NLLLoss()),
    ):
        assert list(ours.state_dict()) == list(theirs.state_dict())
        assert {value.dtype for value in ours.double().state_dict().values()} <= {np.dtype(np.float64)}


OLD_WORDS = [(size_average, reduce) for size_average in (None, True, False) for reduce in (None, True, False)][1:]


@pytest.mark.filterwarnings("ignore:kl_div", "ignore:reduction")
@pytest.mark.parametrize(("size_average", "reduce"), OLD_WORDS)
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss", "mse_loss", "kl_div", "soft_margin_loss"])
def test_how_older_programs_say_the_reduction(name, size_average, reduce):
    """With a warning, and by position where it stood."""
    classes = name in ("cross_entropy", "nll_loss")
    inputs = [SCORES, CLASSES if classes else PROBABILITIES]
    before = [None] * classes
    found = []
    for library in (tc, torch):
        function = getattr(library.nn.functional if library is torch else tc.functional, name)
        with pytest.warns(UserWarning, match="size_average and reduce"):
            found.append(function(*map(library.tensor, inputs), *before, size_average, reduce=reduce).tolist())
    np.testing.assert_allclose(*found, rtol=1e-6)
    with pytest.warns(UserWarning, match="size_average and reduce"):
        loss = nn.MSELoss(size_average, reduce)
    with pytest.warns(UserWarning, match="size_average and reduce"):
        assert loss.reduction == torch.nn.MSELoss(size_average, reduce).reduction


def test_a_reduction_in_the_place_of_an_older_word():
    assert message(ValueError, tc.functional.mse_loss, tc.ones(2), tc.ones(2), "sum") == (
        "mse_loss: size_average must be True or False, got 'sum'; reduction='sum'?"
    )


# --- how they print -------------------------------------------------------------------------------------------------

SAME_REPR = [
    ("Conv2d", (1, 6, 5), {}),
    ("Conv2d", (4, 6, (3, 2)), {"stride": 2, "padding": (1, 0), "dilation": 2, "groups": 2, "bias": False}),
    ("Conv2d", (4, 6, 3), {"padding": "same"}),
    ("Linear", (4, 3), {}),
    ("Linear", (4, 3), {"bias": False}),
    ("MaxPool2d", (2,), {}),
    ("MaxPool2d", ((2, 3),), {"stride": 1, "padding": 1, "ceil_mode": True}),
    ("AvgPool2d", (2,), {}),
    ("AdaptiveAvgPool2d", ((1, None),), {}),
    ("AdaptiveMaxPool2d", (2,), {}),
    ("Flatten", (), {}),
    ("Identity", (), {}),
    ("Dropout", (0.2,), {}),
    ("Dropout", (0.2, True), {}),
]


@pytest.mark.parametrize(("name", "args", "options"), SAME_REPR)
def test_they_print_as_torchs(name, args, options):
    assert repr(getattr(nn, name)(*args, **options)) == repr(getattr(torch.nn, name)(*args, **options))


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (nn.BatchNorm2d(3), "BatchNorm2d(3, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)"),
        (nn.LayerNorm(3), "LayerNorm((3,), eps=1e-05, elementwise_affine=True)"),
        (nn.CrossEntropyLoss(), "CrossEntropyLoss(reduction='mean')"),
    ],
)
def test_how_the_others_print(module, text):
    assert repr(module) == text


def test_layers_in_float64():
    layer = nn.Sequential(nn.Conv2d(1, 2, 3, dtype=tc.float64), nn.BatchNorm2d(2, dtype=tc.float64))
    y = layer(tc.ones(2, 1, 4, 4, dtype=tc.float64))
    assert y.dtype == tc.float64
    assert {p.dtype for p in layer.parameters()} == {np.dtype(np.float64)}
