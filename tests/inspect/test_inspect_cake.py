"""The cake: text to layers and back, and the errors about text that cannot be read."""

import copy
import pickle

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from messages import message

import tinyconv as tc
from tinyconv import models, nn
from tinyconv.errors import CakeError
from tinyconv.inspect import Cake

LENET = "conv 6 5; relu; pool 2; conv 16 5; relu; pool 2; flatten; fc 120; relu; fc 84; relu; fc 10"
IMAGE = (2, 12, 14)


def figures(summary):
    """What does not depend on names."""
    return [(row.kind, row.output_shape, row.params, row.macs, row.fields) for row in summary.layers]


# --- there and back -------------------------------------------------------------------------------------------------


def sizes(most, least=1):
    """A number, or two."""
    number = st.integers(least, most)
    return st.one_of(number.map(str), st.tuples(number, number).map(lambda pair: f"{pair[0]}x{pair[1]}"))


YES_OR_NO = st.sampled_from(["yes", "no"])
POOL = {"stride": sizes(3), "padding": sizes(1, 0)}

SLICES = {  # what a slice needs, and its options
    "conv": (
        [st.integers(1, 8).map(str), sizes(4)],
        {
            "stride": sizes(2),
            "padding": st.one_of(sizes(2, 0), st.just("same")),
            "dilation": sizes(2),
            "groups": st.integers(1, 2).map(str),
            "bias": YES_OR_NO,
        },
    ),
    "pool": ([sizes(3)], {**POOL, "dilation": sizes(2), "ceil": YES_OR_NO}),
    "avgpool": ([sizes(3)], {**POOL, "ceil": YES_OR_NO}),
    "adaptive": ([sizes(4)], {}),
    "fc": ([st.integers(1, 20).map(str)], {"bias": YES_OR_NO}),
    "dropout": ([], {"p": st.floats(0, 1, exclude_max=True).map(str)}),
    "leakyrelu": ([], {"slope": st.floats(-2, 2).map(str)}),
    **{name: ([], {}) for name in ("gap", "flatten", "bn", "relu", "gelu", "silu", "sigmoid", "tanh", "softmax")},
}


@st.composite
def slices(draw, kinds=tuple(SLICES)):
    """A slice as somebody may write it: some options, by name, by a part of it or by their place."""
    name = draw(st.sampled_from(kinds))
    needed, options = SLICES[name]
    words = [name, *(draw(strategy) for strategy in needed)]
    by_place = draw(st.integers(0, len(options)))
    for i, (option, strategy) in enumerate(options.items()):
        if i < by_place:
            words.append(draw(strategy))
        elif draw(st.booleans()):
            written = option[: draw(st.integers(1, len(option)))]
            words.append(f"{written}={draw(strategy)}")
    return draw(st.sampled_from([" ", "  ", "\t"])).join(words)


@st.composite
def texts(draw):
    """A cake of any slices, mostly such as can be baked: maps, then features."""
    maps = [kind for kind in SLICES if kind != "fc"]
    features = ["fc", "bn", "dropout", "relu", "leakyrelu", "tanh", "softmax"]
    written = draw(st.lists(slices(tuple(maps)), min_size=1, max_size=5))
    if draw(st.booleans()):
        written += ["flatten", *draw(st.lists(slices(tuple(features)), max_size=4))]
    return draw(st.sampled_from(["; ", ";", " ;  ", "\n", " \r\n"])).join(written)


@given(text=texts())
def test_what_is_written_is_read_again(text):
    cake = Cake.parse(text)
    assert Cake.parse(str(cake)) == cake
    assert str(Cake.parse(str(cake))) == str(cake)
    assert Cake.parse(text.upper().replace(";", " ; ")) == cake
    for s in cake.slices:  # each stands where it is told to
        assert Cake.parse(text[s.start : s.end]).slices == (s,)
    assert len(cake.names()) == len(set(cake.names())) == len(cake.slices)


@settings(max_examples=2 * settings().max_examples)
@given(text=texts())
def test_what_is_built_is_read_out_again(text):
    cake = Cake.parse(text)
    try:
        shapes = cake.shapes(IMAGE)
    except CakeError:
        assume(False)
    with tc.device("meta"):
        model = cake.build(IMAGE)
    assert Cake.of(model) == cake
    assert [name for name, _ in model.named_children()] == cake.names()
    s = tc.summary(model, IMAGE)
    assert [IMAGE, *(row.output_shape for row in s.layers)] == shapes
    made = {}
    exec(cake.to_python(IMAGE), made)
    assert figures(tc.summary(made["model"], IMAGE)) == figures(s)
    assert Cake.of(made["model"]) == cake


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("pool 2 stride=2", "pool 2"),
        ("pool 2x2 2", "pool 2"),
        ("avgpool 3 stride=3x3", "avgpool 3"),
        ("adaptive 1", "gap"),
        ("adaptive 1x1", "gap"),
        ("conv 4 3x3 stride=1 padding=0x0 bias=yes", "conv 4 3"),
        ("conv 4 3 1 0 1 1 yes", "conv 4 3"),
        ("dropout 0.5", "dropout"),
        ("leakyrelu 0.01", "leakyrelu"),
        ("CONV 4 5X3", "conv 4 5x3"),
    ],
)
def test_the_same_layer_is_the_same_slice(written, plain):
    assert Cake.parse(written) == Cake.parse(plain)
    assert str(Cake.parse(written)) == plain
    assert str(Cake.of(Cake.parse(written).build(IMAGE))) == plain


def test_two_that_differ():
    distinct = ["conv 4 3", "conv 4 3 padding=1", "conv 4 3x1", "conv 4 3 bias=no", "pool 2", "pool 2 stride=1", "gap"]
    assert len({Cake.parse(text) for text in distinct}) == len(distinct)


def test_lines_and_semicolons():
    cake = Cake.parse(LENET)
    assert str(cake) == LENET
    for text in (
        LENET + ";",
        LENET + "\n",
        LENET.replace("; ", "\n"),
        LENET.replace("; ", "\r\n") + "\r\n",
        "  " + LENET.replace("; ", " ;\t"),
        LENET.replace("; relu", ";relu"),
    ):
        assert Cake.parse(text) == cake


def test_a_cake_in_a_file():
    """As one would write it down: an empty line between the blocks, a semicolon where a line ends."""
    cake = Cake.parse("conv 6 5; relu; pool 2; flatten; fc 10")
    assert Cake.parse("conv 6 5\nrelu\npool 2\n\nflatten\nfc 10\n") == cake
    assert Cake.parse("conv 6 5; relu; pool 2;\nflatten; fc 10;\n") == cake
    assert Cake.parse("\nconv 6 5; relu; pool 2\nflatten; fc 10\n\n") == cake


# --- names, shapes, models ------------------------------------------------------------------------------------------


def test_names():
    assert Cake.parse(LENET).names() == [
        "conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "flatten", "fc1", "relu3", "fc2", "relu4", "fc3",
    ]  # fmt: skip
    assert Cake.parse("conv 6 5; bn; relu; dropout; gap; flatten; fc 3").names() == [
        "conv1", "bn", "relu", "dropout1", "gap", "flatten", "fc1",
    ]  # fmt: skip


def test_shapes():
    assert Cake.parse(LENET).shapes((1, 28, 28)) == [
        (1, 28, 28), (6, 24, 24), (6, 24, 24), (6, 12, 12), (16, 8, 8), (16, 8, 8), (16, 4, 4), (256,), (120,), (120,),
        (84,), (84,), (10,),
    ]  # fmt: skip
    assert Cake.parse("conv 4 3 padding=same").shapes((3, 9, 7))[-1] == (4, 9, 7)
    assert Cake.parse("pool 3 2 ceil=yes").shapes((3, 8, 8))[-1] == (3, 4, 4)
    assert Cake.parse("fc 3; bn; relu").shapes([5]) == [(5,), (3,), (3,), (3,)]


def test_the_model():
    tc.manual_seed(3)
    model = Cake.parse("conv 4 3 2 1 groups=2 bias=no; bn; gelu; pool 2x1; flatten; dropout 0.3; fc 5; softmax").build(
        (2, 9, 9)
    )
    assert repr(model).splitlines()[1:-1] == [
        "  (conv1): Conv2d(2, 4, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), groups=2, bias=False)",
        "  (bn): BatchNorm2d(4, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)",
        "  (gelu): GELU(approximate='none')",
        "  (pool1): MaxPool2d(kernel_size=(2, 1), stride=(2, 1), padding=0, dilation=1, ceil_mode=False)",
        "  (flatten): Flatten(start_dim=1, end_dim=-1)",
        "  (dropout1): Dropout(p=0.3, inplace=False)",
        "  (fc1): Linear(in_features=40, out_features=5, bias=True)",
        "  (softmax): Softmax(dim=1)",
    ]
    y = model(tc.randn(3, 2, 9, 9))
    assert y.shape == (3, 5)
    np.testing.assert_allclose(y.sum(1).detach(), 1, rtol=1e-6)
    y.sum().backward()
    assert model.training


def test_every_weight_is_drawn_once_and_where_it_is_to_be():
    cake = Cake.parse("conv 4 3; relu; flatten; fc 5")
    tc.manual_seed(7)
    before = tc.get_rng_state()
    Cake.parse(str(cake)).shapes((1, 6, 6))
    cake.to_python((1, 6, 6))
    with tc.device("meta"):
        shadow = cake.build((1, 6, 6))
    Cake.of(shadow)
    assert tc.get_rng_state() == before
    assert {p.device for p in shadow.parameters()} == {"meta"}
    model = cake.build((1, 6, 6))
    after = tc.get_rng_state()
    Cake.of(model)
    tc.manual_seed(7)
    by_hand = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5))
    assert tc.get_rng_state() == after
    for ours, theirs in zip(model.parameters(), by_hand.parameters(), strict=True):
        assert ours.device == "cpu"
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_to_python():
    assert Cake.parse("conv 6 5 padding=same bias=no; relu; pool 2 ceil=yes; gap; flatten; bn; fc 10").to_python(
        (1, 28, 28)
    ) == (
        "from tinyconv import nn\n"
        "\n"
        "model = nn.Sequential(\n"
        "    nn.Conv2d(1, 6, 5, padding='same', bias=False),\n"
        "    nn.ReLU(),\n"
        "    nn.MaxPool2d(2, ceil_mode=True),\n"
        "    nn.AdaptiveAvgPool2d(1),\n"
        "    nn.Flatten(),\n"
        "    nn.BatchNorm1d(6),\n"
        "    nn.Linear(6, 10),\n"
        ")\n"
    )


# --- out of models --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (
            models.lenet_gap,
            "conv 6 5; relu; pool 2; conv 16 5; relu; pool 2; conv 120 3 padding=1; relu; gap; flatten; fc 10",
        ),
        (
            models.lenet_bn,
            "conv 6 5 bias=no; bn; relu; pool 2; conv 16 5 bias=no; bn; relu; pool 2; adaptive 4; flatten; "
            "fc 120 bias=no; bn; relu; fc 84 bias=no; bn; relu; fc 10",
        ),
        (lambda: nn.Conv2d(3, 4, (3, 5), stride=2, padding=(0, 1)), "conv 4 3x5 stride=2 padding=0x1"),
        (lambda: nn.Conv2d(4, 4, 3, padding="valid"), "conv 4 3"),
        (lambda: nn.MaxPool2d((2, 2), (2, 2)), "pool 2"),
        (lambda: nn.MaxPool2d(2, stride=1), "pool 2 stride=1"),
        (lambda: nn.Sequential(nn.Sequential(nn.ReLU(), nn.Sequential(nn.Flatten()))), "relu; flatten"),
        (lambda: nn.LeakyReLU(0.2), "leakyrelu slope=0.2"),
        (lambda: nn.Dropout(0.1).eval(), "dropout p=0.1"),
        (lambda: nn.Linear(3, 4).double(), "fc 4"),
        (lambda: nn.DataParallel(nn.Sequential(nn.ReLU())), "relu"),
    ],
)  # fmt: skip
def test_of(model, text):
    cake = Cake.of(model())
    assert str(cake) == text
    assert Cake.parse(text) == cake


REFUSED = {
    "LeNet5": models.lenet5,
    "3": models.resnet,
    "LayerNorm": lambda: nn.LayerNorm(3),
    "1.0": lambda: nn.Sequential(nn.ReLU(), nn.Sequential(nn.Identity())),
    "0": lambda: nn.Sequential(nn.BatchNorm2d(3, eps=1e-3)),
    "BatchNorm2d": lambda: nn.BatchNorm2d(3, affine=False),
    "BatchNorm1d": lambda: nn.BatchNorm1d(3, track_running_stats=False),
    "Flatten": lambda: nn.Flatten(2),
    "Softmax": lambda: nn.Softmax(-1),
    "GELU": lambda: nn.GELU("tanh"),
    "AdaptiveMaxPool2d": lambda: nn.AdaptiveMaxPool2d(1),
    "AvgPool2d": lambda: nn.AvgPool2d(2, count_include_pad=False),
    "ModuleList": lambda: nn.ModuleList([nn.ReLU()]),
    "Mine": type("Mine", (nn.ReLU,), {}),
    # What could be written could not be read again.
    "AdaptiveAvgPool2d": lambda: nn.AdaptiveAvgPool2d((None, 1)),
    "Dropout": lambda: nn.Dropout(1.0),
    "LeakyReLU": lambda: nn.LeakyReLU(float("nan")),
}


@pytest.mark.parametrize("path", REFUSED)
def test_of_what_cannot_be_a_slice(path):
    text = message(tc.ShapeError, Cake.of, REFUSED[path]())
    assert text.startswith(f"layer {path!r}, ")
    assert text.endswith(
        " cannot be a slice of a cake: those are conv, pool, avgpool, gap, adaptive, flatten, fc, bn, dropout, relu, "
        "leakyrelu, gelu, silu, sigmoid, tanh, softmax, one after another in a Sequential, with torch's usual settings"
    )


def test_of_a_layer_that_is_there_twice():
    """One set of weights cannot be two slices."""
    conv = nn.Conv2d(2, 2, 3)
    with pytest.raises(tc.ShapeError, match="layer '2'"):
        Cake.of(nn.Sequential(conv, nn.ReLU(), conv))
    relu = nn.ReLU()
    assert str(Cake.of(nn.Sequential(relu, nn.Flatten(), relu))) == "relu; flatten; relu"


def test_of_nothing():
    with pytest.raises(tc.ShapeError):
        Cake.of(nn.Sequential())
    with pytest.raises(TypeError, match="Module"):
        Cake.of("conv 6 5")


# --- errors about text that cannot be read ---------------------------------------------------------------------------

CONV = "write conv FILTERS KERNEL [stride=] [padding=] [dilation=] [groups=] [bias=]"
POOLING = "write pool KERNEL [stride=] [padding=] [dilation=] [ceil=]"
WHOLE = "a whole number, at least 1, at most 1,048,576"
AREA = f"{WHOLE}, or two as in 3x5"
CELLS = "a whole number, at least 1, at most 64, or two as in 3x5"

MALFORMED = [
    # text, the slice that is wrong, and why
    ("cnov 6 5", "cnov 6 5", "no slice is called 'cnov': conv?"),
    ("relu; maxpool 2", "maxpool 2", "no slice is called 'maxpool': pool?"),
    (
        "xyz",
        "xyz",
        "no slice is called 'xyz'; there are conv, pool, avgpool, gap, adaptive, flatten, fc, bn, dropout, relu, "
        "leakyrelu, gelu, silu, sigmoid, tanh, softmax",
    ),
    ("conv", "conv", f"filters is missing; {CONV}"),
    ("conv 6; relu", "conv 6", f"kernel is missing; {CONV}"),
    ("relu; pool", "pool", f"kernel is missing; {POOLING}"),
    ("conv kernel=3", "conv kernel=3", f"filters is missing; {CONV}"),
    ("flatten; fc", "fc", "features is missing; write fc FEATURES [bias=]"),
    ("conv six 5", "conv six 5", f"filters must be {WHOLE}, got 'six'; {CONV}"),
    ("conv 0 5", "conv 0 5", f"filters must be {WHOLE}, got '0'; {CONV}"),
    ("conv -6 5", "conv -6 5", f"filters must be {WHOLE}, got '-6'; {CONV}"),
    ("conv 6.0 5", "conv 6.0 5", f"filters must be {WHOLE}, got '6.0'; {CONV}"),
    ("conv 6x6 5", "conv 6x6 5", f"filters must be {WHOLE}, got '6x6'; {CONV}"),
    ("conv 6 5x", "conv 6 5x", f"kernel must be {AREA}, got '5x'; {CONV}"),
    ("conv 6 3x5x7", "conv 6 3x5x7", f"kernel must be {AREA}, got '3x5x7'; {CONV}"),
    ("conv 6 ²", "conv 6 ²", f"kernel must be {AREA}, got '²'; {CONV}"),
    ("conv 6 5 stride=", "conv 6 5 stride=", f"stride must be {AREA}, got ''; {CONV}"),
    ("conv 6 5 stride=0", "conv 6 5 stride=0", f"stride must be {AREA}, got '0'; {CONV}"),
    (
        "conv 6 5 padding=sam",
        "conv 6 5 padding=sam",
        f"padding must be a whole number, two as in 1x2, or same, got 'sam'; {CONV}",
    ),
    ("conv 6 5 bias=maybe", "conv 6 5 bias=maybe", f"bias must be yes or no, got 'maybe'; {CONV}"),
    ("pool 2 ceil=1", "pool 2 ceil=1", f"ceil must be yes or no, got '1'; {POOLING}"),
    ("conv 6 5 1 0 1 1 yes 4", "conv 6 5 1 0 1 1 yes 4", f"'4' is one word too many; {CONV}"),
    ("relu; relu 3 ;relu", "relu 3", "'3' is one word too many; write relu"),
    ("conv 6 5 colour=3", "conv 6 5 colour=3", f"it has no option 'colour'; {CONV}"),
    ("conv 6 5 =3", "conv 6 5 =3", f"it has no option ''; {CONV}"),
    (
        "avgpool 2 dilation=2", "avgpool 2 dilation=2",
        "it has no option 'dilation'; write avgpool KERNEL [stride=] [padding=] [ceil=]",
    ),
    ("conv 6 5 stride=2 stride=3", "conv 6 5 stride=2 stride=3", "stride is given twice"),
    ("conv 6 5 stride=2 s=3", "conv 6 5 stride=2 s=3", "stride is given twice"),
    ("conv 6 5 kernel=3", "conv 6 5 kernel=3", "kernel is given twice"),
    ("dropout 1", "dropout 1", "p must be a probability below 1, got '1'; write dropout [p=]"),
    ("dropout -0.1", "dropout -0.1", "p must be a probability below 1, got '-0.1'; write dropout [p=]"),
    ("dropout nan", "dropout nan", "p must be a probability below 1, got 'nan'; write dropout [p=]"),
    ("leakyrelu steep", "leakyrelu steep", "slope must be a number, got 'steep'; write leakyrelu [slope=]"),
    ("leakyrelu nan", "leakyrelu nan", "slope must be a number, got 'nan'; write leakyrelu [slope=]"),
    ("conv(6, 5)", "conv(6, 5)", "no slice is called 'conv(6,': conv?"),
    ("relu; ; relu", "", "it is empty; slices are separated by one semicolon"),
    ("relu;;relu", "", "it is empty; slices are separated by one semicolon"),
    ("; relu", "", "it is empty; slices are separated by one semicolon"),
    ("relu;;", "", "it is empty; slices are separated by one semicolon"),
]  # fmt: skip


def refused(function, *args):
    """The error that is raised."""
    with pytest.raises(CakeError) as caught:
        function(*args)
    return caught.value


def refusal(text, function, *args):
    """The error of a cake's text, why it is one, and the slice marked, which is where the attributes say it is."""
    error = refused(function, *args)
    head, line, mark = str(error).splitlines()
    written = text[error.start : error.end]
    assert head.startswith(f"slice {error.slice}, {written!r}: ")
    assert line.startswith("  ")
    assert line[2:] in text.splitlines()
    column = len(mark) - len(mark.lstrip())
    assert mark.strip() == "^" * max(len(written), 1)
    assert line[column:].startswith(written)
    assert isinstance(error, tc.ShapeError)
    return error, head.removeprefix(f"slice {error.slice}, {written!r}: "), written


@pytest.mark.parametrize(("text", "wrong", "why"), MALFORMED, ids=[text for text, *_ in MALFORMED])
def test_malformed(text, wrong, why):
    _, said, written = refusal(text, Cake.parse, text)
    assert (said, written) == (why, wrong)


def test_the_whole_message():
    error = refused(Cake.parse, "conv 6 5; relu; pol 2; flatten")
    assert str(error) == (
        "slice 3, 'pol 2': no slice is called 'pol': pool?\n  conv 6 5; relu; pol 2; flatten\n                  ^^^^^"
    )
    assert (error.slice, error.start, error.end) == (3, 16, 21)


def test_the_line_is_shown_on_which_it_stands():
    text = "conv 6 5\n  relu; pol 2; relu\nflatten"
    error, why, written = refusal(text, Cake.parse, text)
    assert (error.slice, written, why) == (3, "pol 2", "no slice is called 'pol': pool?")
    assert str(error).splitlines()[1:] == ["    relu; pol 2; relu", "          ^^^^^"]


def test_after_a_tab_the_mark_is_where_it_should_be():
    """A terminal makes a tab as wide as it likes; what stands before the mark must be as wide."""
    line, mark = str(refused(Cake.parse, "conv 6 5;\tpol 2")).splitlines()[1:]
    assert line.expandtabs().index("pol") == mark.expandtabs().index("^")


@pytest.mark.parametrize(
    ("word", "ours"),
    [
        ("conv2d 6 5", "conv"), ("maxpool 2", "pool"), ("maxpool2d 2", "pool"), ("avgpool2d 2", "avgpool"),
        ("linear 10", "fc"), ("batchnorm2d", "bn"), ("softmx", "softmax"), ("drop 0.5", "dropout"),
    ],
)  # fmt: skip
def test_other_words_for_the_same(word, ours):
    """Whoever knows torch's names is told ours."""
    assert str(refused(Cake.parse, word)).splitlines()[0].endswith(f"no slice is called {word.split()[0]!r}: {ours}?")


@pytest.mark.parametrize("text", ["", " ", "\n", "\n\n", " \t "])
def test_an_empty_cake(text):
    error = refused(Cake.parse, text)
    assert str(error) == "an empty cake: write slices between semicolons, as in 'conv 6 5; relu; pool 2'"
    assert (error.slice, error.start, error.end) == (1, 0, 0)


@given(text=st.text(alphabet="conv fcpool=x123;\n\tsab-.²\x0b\x85", max_size=30))
def test_whatever_is_typed_is_read_or_refused(text):
    try:
        cake = Cake.parse(text)
    except CakeError as error:
        assert 0 <= error.start <= error.end <= len(text)  # noqa: PT017 (both ends are fine)
    else:
        assert Cake.parse(str(cake)) == cake


# --- what cannot be baked -------------------------------------------------------------------------------------------

IMPOSSIBLE = [
    # text, image, the slice that does not fit, and why
    (
        "conv 6 29", (1, 28, 28), "conv 6 29",
        "conv2d: kernel 29x29 is larger than the padded input 28x28 (input 28x28, padding 0, 0): too many poolings "
        "before it, an input too small, or padding forgotten?",
    ),
    (
        "conv 6 5; pool 8; pool 4; relu", (1, 28, 28), "pool 4",
        "max_pool2d: kernel 4x4 is larger than the padded input 3x3 (input 3x3, padding 0, 0): too many poolings "
        "before it, an input too small, or padding forgotten?",
    ),
    (
        "conv 6 1x3 dilation=20", (1, 28, 28), "conv 6 1x3 dilation=20",
        "conv2d: kernel 1x3 (dilated: 1x41) is larger than the padded input 28x28 (input 28x28, padding 0, 0): too "
        "many poolings before it, an input too small, or padding forgotten?",
    ),
    (
        "pool 3 padding=2", (1, 28, 28), "pool 3 padding=2",
        "max_pool2d: padding (2, 2) is more than half of kernel (3, 3): some windows would be empty",
    ),
    (
        "flatten; conv 3 3", (1, 28, 28), "conv 3 3",
        "it needs feature maps (C, H, W) and gets (784,): nothing after a flatten has any",
    ),
    (
        "flatten; fc 9; gap", (1, 28, 28), "gap",
        "it needs feature maps (C, H, W) and gets (9,): nothing after a flatten has any",
    ),
    (
        "conv 6 5; fc 10", (1, 28, 28), "fc 10",
        "it needs features in one row and gets (6, 24, 24): put flatten before it (3,456)",
    ),
    (
        "conv 4 3; conv 6 3 groups=4", (1, 9, 9), "conv 6 3 groups=4",
        "Conv2d: 4 channels and 6 filters cannot both be split into 4 groups",
    ),
    (
        "conv 4 3 padding=same stride=2", (1, 9, 9), "conv 4 3 padding=same stride=2",
        "conv2d: padding='same' keeps the size, which stride (2, 2) does not; give numbers",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "image", "wrong", "why"), IMPOSSIBLE, ids=[text for text, *_ in IMPOSSIBLE])
def test_impossible(text, image, wrong, why):
    cake = Cake.parse(text)
    for use in (cake.build, cake.shapes, cake.to_python):
        _, said, written = refusal(text, use, image)
        assert (said, written) == (why, wrong)


def test_a_slice_that_was_never_text_is_shown_as_it_is_written():
    cake = Cake.of(nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(1, 3, 5)))
    error, why, written = refusal(str(cake), cake.build, (1, 4, 4))
    assert (error.slice, written) == (3, "conv 3 5")
    assert why.startswith("conv2d: kernel 5x5 is larger than the padded input 2x2")
    assert str(error).splitlines()[1] == "  relu; pool 2; conv 3 5"


def test_an_image_without_channels_is_no_fault_of_a_flatten():
    text = str(refused(Cake.parse("conv 3 3").build, (28, 28)))
    assert "it needs feature maps (C, H, W) and gets (28, 28)" in text
    assert "flatten" not in text


@pytest.mark.parametrize("image", [(0, 28, 28), (1, -1, 28), (1, 0, 28), (0,), 28, None])
@pytest.mark.parametrize("text", ["conv 3 3", "relu", "bn", "flatten; fc 2"])
def test_an_image_that_is_none(text, image):
    with pytest.raises(tc.ShapeError):
        Cake.parse(text).build(image)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("conv 99999999999999999999 5", f"filters must be {WHOLE}, got '99999999999999999999'"),
        ("conv 6 3 padding=99999999999999999999", "padding must be a whole number, two as in 1x2, or same"),
        ("conv 1048577 5", f"filters must be {WHOLE}"),
        ("pool 65", f"kernel must be {CELLS}, got '65'"),
        ("adaptive 1x65", f"size must be {CELLS}, got '1x65'"),
        ("; ".join(["relu"] * 301), "a cake of 301 slices; at most 300 are read"),
        ("relu;" * 20_001, "a cake of 100,005 characters; at most 100,000 are read"),
    ],
    ids=lambda text: text[:40],
)
def test_sizes_beyond_all_bounds(text, said):
    assert said in str(refused(Cake.parse, text))


def test_parameters_beyond_all_bounds():
    cake = Cake.parse("flatten; fc 1000000")
    assert "with it there are 785,000,000 parameters; at most 268,435,456 are built" in str(
        refused(cake.shapes, (1, 28, 28))
    )


def test_the_error_of_a_long_cake_shows_the_place():
    text = "relu; " * 250 + "pol 2; " + "relu; " * 40
    error = refused(Cake.parse, text)
    said, line, mark = str(error).split("\n")
    assert said == "slice 251, 'pol 2': no slice is called 'pol': pool?"
    assert len(line) < 200
    assert [c for c, m in zip(line, mark, strict=False) if m == "^"] == list("pol 2")
    assert line.strip().startswith("... ")
    assert line.endswith(" ...")


def test_the_error_of_a_long_slice_is_short():
    assert len(str(refused(Cake.parse, "conv 6 " + "x" * 99_000))) < 700


def test_the_error_survives_another_process():
    error = refused(Cake.parse, "relu; pol 2")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert str(twin) == str(error)
        assert (twin.slice, twin.start, twin.end) == (2, 6, 11)
