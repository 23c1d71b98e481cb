"""The first mistakes of a newcomer: each is answered with what was given, what was needed, and the likely fix."""

import copy
import pickle
import re
import warnings
from dataclasses import replace
from functools import wraps
from pathlib import Path

import numpy as np
import pytest
from messages import message

import tinyconv as tc
import tinyconv.functional as F
from tinyconv import data, nn, optim
from tinyconv.train import Recipe, Trainer, evaluate, predict

HERE = Path(__file__).name
DIGITS = data.synthetic_digits(20)
IMAGES, LABELS = tc.rand(4, 1, 28, 28), tc.tensor([1, 2, 3, 4])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(784, 10)

    def forward(self, x):
        return self.fc(x.flatten(1))


class Returnless(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(784, 10)

    def forward(self, x):
        x = self.fc(x.flatten(1))


# --- forward --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        lambda net: net(IMAGES),
        lambda net: net(IMAGES).sum(),
        lambda net: F.cross_entropy(net(IMAGES), LABELS),
        lambda net: tc.summary(net, (1, 28, 28)),
        lambda net: tc.trace(net(IMAGES)),
        lambda net: tc.feature_maps(net, DIGITS.normalized()[0]),
        lambda net: nn.Sequential(net, nn.ReLU())(IMAGES),
        lambda net: nn.DataParallel(net)(IMAGES),
        lambda net: nn.DataParallel(net, tile=1)(IMAGES),
        lambda net: evaluate(net, DIGITS),
        lambda net: predict(net, DIGITS.normalized()),
        lambda net: next(
            Trainer(net, optim.SGD(net.parameters(), lr=0.1), None, data.DataLoader(DIGITS, 4), DIGITS, 1).run()
        ),
    ],
)
def test_a_forgotten_return(use):
    line = Returnless.forward.__code__.co_firstlineno
    said = message(tc.CallError, use, Returnless())
    assert said.startswith(f"forward(self, x) of Returnless ({HERE}:{line}) returned None: is `return` missing?")


def test_a_forgotten_return_is_seen_under_a_decorator_and_named_with_its_path():
    def logged(function):
        @wraps(function)
        def inner(*args):
            return function(*args)

        return inner

    class Block(nn.Module):
        @logged
        def forward(self, x):
            x * 2

    assert "returned None: is `return` missing?\n  in layer '1': Block" in message(
        tc.CallError, nn.Sequential(nn.ReLU(), Block()), tc.ones(1)
    )


def test_a_none_that_is_returned_is_passed_on():
    class Same(nn.Module):
        def forward(self, x):
            return x

    assert Same()(None) is None
    assert Same()(3) == 3


@pytest.mark.parametrize("name", ["foward", "Forward", "froward", "call"])
def test_a_forward_of_another_name(name):
    net = type("Net", (nn.Module,), {name: lambda self, x: x})()
    assert message(NotImplementedError, net, 1) == f"Net does not define forward; did you mean it by {name!r}?"


class NoInput(nn.Module):
    def forward(self):
        return 1


class NoSelf(nn.Module):
    def forward(x):
        return x


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: Net()(1, 2), "Net.forward() takes 2 positional arguments but 3 were given"),
        (lambda: Net()(), "Net.forward() missing 1 required positional argument: 'x'"),
        (lambda: Net()(y=1), "Net.forward() got an unexpected keyword argument 'y'"),
        (lambda: NoInput()(1),
         "NoInput.forward() takes 1 positional argument but 2 were given; is an input missing in its first line?"),
        (lambda: NoSelf()(1),
         "NoSelf.forward() takes 1 positional argument but 2 were given; is `self` missing in its first line?"),
        (lambda: nn.CrossEntropyLoss()(IMAGES, targets=LABELS),
         "CrossEntropyLoss.forward() got an unexpected keyword argument 'targets'; did you mean 'target'?"),
        (lambda: nn.Sequential(Net())(1, 2), "Sequential.forward() takes 2 positional arguments but 3 were given"),
    ],
)  # fmt: skip
def test_arguments_that_a_forward_does_not_take(call, expected):
    first, second = message(tc.CallError, call).splitlines()
    assert first == expected
    assert re.fullmatch(r"  it is forward\(.*\) of (\w+) \(\w+\.py:\d+\)", second)[1] == expected.partition(".")[0]


def test_a_type_error_inside_a_forward_passes_as_it_is():
    class Adds(nn.Module):
        def forward(self, x):
            return len(x, 1)

    with pytest.raises(TypeError, match=r"^len\(\) takes exactly one argument") as caught:
        Adds()(1)
    assert not isinstance(caught.value, tc.CallError)


# --- constructors ---------------------------------------------------------------------------------------------------


NOT_CALLED = "too many positional arguments; to apply it to a tensor, make it first and then call it: "


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: nn.Conv2d(1, 6, 5, strides=2), "Conv2d: strides -> stride"),
        (lambda: nn.Conv2d(1, filters=6, kernel_size=5), "Conv2d: filters -> out_channels"),
        (lambda: nn.Conv2d(1, 6, kernel=5), "Conv2d: kernel -> kernel_size"),
        (lambda: nn.Conv2d(1, 6, 5, pad=2), "Conv2d: pad -> padding"),
        (lambda: nn.Conv2d(1, 6, 5, activation="relu"), "Conv2d: got an unexpected keyword argument 'activation'"),
        (lambda: nn.Conv2d(1, 6), "Conv2d: missing a required argument: 'kernel_size'"),
        (lambda: nn.Linear(10), "Linear: missing a required argument: 'out_features'"),
        (lambda: nn.MaxPool2d(pool_size=2), "MaxPool2d: pool_size -> kernel_size"),
        (lambda: nn.Dropout(rate=0.5), "Dropout: rate -> p"),
        (lambda: nn.Softmax(axis=1), "Softmax: axis -> dim"),
        (lambda: nn.BatchNorm2d(6, epsilon=1e-3), "BatchNorm2d: epsilon -> eps"),
        (lambda: nn.Sigmoid(IMAGES), f"Sigmoid: {NOT_CALLED}Sigmoid(...)(x)"),
        (lambda: Net(IMAGES), f"Net: {NOT_CALLED}Net(...)(x)"),
        (lambda: tc.models.LeNet5(num_class=3), "LeNet5: num_class -> num_classes"),
    ],
)  # fmt: skip
def test_arguments_that_a_constructor_does_not_take(call, expected):
    first, second = message(tc.CallError, call).splitlines()
    if " -> " in expected:
        owner, given, meant = re.split(": | -> ", expected)
        expected = f"{owner}: got an unexpected keyword argument {given!r}; did you mean {meant!r}?"
    assert first == expected
    assert re.fullmatch(r"  it takes (\w+)\(.*\)", second)[1] == expected.partition(":")[0]


@pytest.mark.parametrize("layer", [nn.Softmax, nn.Flatten])
def test_a_layer_that_is_made_with_what_it_should_be_called_with(layer):
    name = layer.__name__
    said = message(tc.ShapeError, layer, IMAGES)
    assert said.startswith(f"{name}: ")
    assert said.endswith(
        ": expected an integer, got an array of shape (4, 1, 28, 28); a layer is made first, and then called: "
        f"{name}(...)(x)"
    )


def test_a_function_that_is_given_an_array_as_a_size():
    said = message(tc.ShapeError, lambda: F.conv2d(IMAGES, tc.ones(2, 1, 3, 3), groups=np.ones(2)))
    assert said == "conv2d: groups: expected an integer, got an array of shape (2,)"


def test_the_arguments_are_listed_as_they_are_written():
    assert message(tc.CallError, nn.Linear, 10).endswith(
        "  it takes Linear(in_features, out_features, bias=True, device=None, dtype=None)"
    )


def test_copies_are_made_without_arguments():
    for made in (nn.Linear(2, 3), optim.SGD(Net().parameters(), lr=0.1)):
        assert type(copy.copy(made)) is type(pickle.loads(pickle.dumps(made))) is type(made)


# --- data -----------------------------------------------------------------------------------------------------------

X, Y = np.zeros((6, 1, 28, 28), np.float32), np.arange(6)
PAIRS = [(x, y) for x, y in zip(X, Y, strict=True)]
TAKES = "DataLoader takes a dataset or a pair of arrays, got "
STACK = "DataLoader((np.stack([x for x, _ in data]), np.array([y for _, y in data])))"
ONE = "DataLoader((images, labels), batch_size=64)"


class Tensors:
    """As PyTorch's TensorDataset looks."""

    tensors = X, Y


class Vision:
    """As torchvision's datasets look."""

    data, targets = X[:, 0], Y


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: data.DataLoader(X, Y),
         f"{TAKES}an array of shape (6, 1, 28, 28); images and labels are one argument, {ONE}"),
        (lambda: data.DataLoader(IMAGES, LABELS),
         f"{TAKES}an array of shape (4, 1, 28, 28); images and labels are one argument, {ONE}"),
        (lambda: data.DataLoader(iter(PAIRS)),
         f"{TAKES}a list_iterator; it needs len and [i]; what gives items one after another is a subclass of "
         "IterableDataset"),
        (lambda: data.DataLoader([]), "the dataset is empty, there is nothing to load"),
        (lambda: data.DataLoader(3), f"{TAKES}a int; {ONE}"),
        (lambda: data.DataLoader("mnist"), f"{TAKES}'mnist'; DataLoader(tinyconv.data.load('mnist'))"),
        (lambda: data.DataLoader(None), f"{TAKES}None; {ONE}"),
        (lambda: data.DataLoader(data.Dataset), f"{TAKES}the class Dataset; {ONE}"),
        (lambda: data.DataLoader((Y, X)),
         "x must have the shape (N, ...), got (6,); swapped? x comes first, (x, y)"),
        (lambda: data.DataLoader((X[:, 0].astype(np.uint8), Y)),
         "images of bytes must be (N, C, H, W), got shape (6, 28, 28); add the channel dimension: x[:, None]"),
        (lambda: data.DataLoader((X.reshape(6, 784).astype(np.uint8), Y)),
         "images of bytes must be (N, C, H, W), got shape (6, 784); flat? x.reshape(-1, 1, 28, 28)"),
        (lambda: data.DataLoader((np.zeros((6, 3072), np.uint8), Y)),
         "images of bytes must be (N, C, H, W), got shape (6, 3072); flat? x.reshape(-1, 3, 32, 32)"),
        (lambda: data.DataLoader((X, Y[:5])), "6 items need as many labels or targets, got 5, of shape (5,)"),
        (lambda: data.DataLoader((X, np.array(list("catdog")))),
         "y must be numbers, got <U1; classes, labels = np.unique(labels, return_inverse=True)"),
        (lambda: data.DataLoader((X, np.zeros(6, complex))), "y must be numbers, got complex128; numbers are needed"),
        (lambda: data.DataLoader((X.astype(int), Y)),
         "images must be uint8 or floating, got int64; bytes? images.astype(np.uint8)"),
        (lambda: data.DataLoader(DIGITS, "64"), "batch_size: expected an integer >= 1, got '64'"),
        (lambda: data.DataLoader(DIGITS, 64.0), "batch_size: expected an integer >= 1, got 64.0"),
        (lambda: data.DataLoader(DIGITS, 0), "batch_size: expected an integer >= 1, got 0"),
        (lambda: data.DataLoader(DIGITS, 100, drop_last=True),
         "drop_last leaves no batch: batch_size 100 of 20 images; make it at most 20, or keep the last batch"),
        (lambda: data.DataLoader(DIGITS, 10, shuffle=42),
         "shuffle must be True or False, got 42; for an order that depends on a seed: shuffle=True, seed=42"),
        (lambda: data.DataLoader(DIGITS, 10, shuffle="yes"), "shuffle must be True or False, got 'yes'"),
        (lambda: data.DataLoader(DIGITS, 10, seed=1.5), "seed: expected an integer >= 0, got 1.5"),
        (lambda: data.DataLoader(DIGITS, 10, num_workers=-1), "num_workers: expected an integer >= 0, got -1"),
        (lambda: data.DataLoader(DIGITS, 10, collate_fn=1), "collate_fn must be a function of a list of items, got 1"),
        (lambda: data.DataLoader(DIGITS, 10, generator=1, seed=1),
         "DataLoader: a seed fixes the order; leave out the other arguments for the order and the size of batches"),
        (lambda: data.DataLoader(PAIRS, 2, augment=data.RandomShift(2)),
         "augment moves the pixels of whole batches, out of an ImageDataset without transforms or a pair of arrays; "
         "what is done to one item belongs into the dataset: transform=..."),
        (lambda: data.DataLoader(DIGITS, augment="flip"),
         "augment must be a function of images and a generator, got 'flip'"),
        (lambda: data.DataLoader(DIGITS, augment=data.RandomShift),
         f"augment must be a function of images and a generator, got {data.RandomShift}; make one: RandomShift()"),
        (lambda: data.DataLoader(DIGITS, augment=[]),
         "augment must be a function of images and a generator, got []; several as one: tinyconv.data.Compose((...))"),
        (lambda: dataset(images=DIGITS.labels, labels=DIGITS.images),
         "images must be uint8 (N, C, H, W), got int64 (20,); swapped? the images come first"),
        (lambda: dataset(images=DIGITS.images / 255), "images must be uint8 (N, C, H, W), got float64 (20, 1, 28, 28); "
         "(images * 255).round().astype(np.uint8), or DataLoader((images, labels)), which takes floats"),
        (lambda: dataset(labels=DIGITS.labels.astype(np.int32)),
         "labels must be int64 (20,), one per image, got int32 (20,); labels.astype(np.int64)"),
        (lambda: dataset(labels=DIGITS.labels.tolist()), "labels must be a NumPy array, got a list; np.array(labels)"),
        (lambda: dataset(images=tc.tensor(DIGITS.images)),
         "images must be a NumPy array, got a Tensor; images.numpy()"),
        (lambda: dataset(mean=0.1), "mean and std need a number per channel, got 0.1 and (0.2545,); (0.5,) is one"),
    ],
)  # fmt: skip
def test_data(call, expected):
    assert message(tc.DataError, call) == expected


def dataset(**changes):
    return replace(DIGITS, **changes)


def test_a_batch_may_be_larger_than_the_data():
    assert [len(y) for _, y in data.DataLoader(DIGITS, 1000, shuffle=1)] == [20]


# --- losses and optimisers ------------------------------------------------------------------------------------------

SCORES = tc.zeros(4, 10, requires_grad=True)
CALLED = "a loss is made first, and then called: nn."


@pytest.mark.parametrize(
    ("error", "call", "expected"),
    [
        (tc.ShapeError, lambda: nn.CrossEntropyLoss(SCORES, LABELS), "CrossEntropyLoss: weight must hold one number a "
         f"class, (C,), got (4, 10); {CALLED}CrossEntropyLoss()(input, target)"),
        (tc.ShapeError, lambda: nn.NLLLoss(SCORES),
         f"NLLLoss: weight must hold one number a class, (C,), got (4, 10); {CALLED}NLLLoss()(input, target)"),
        (ValueError, lambda: nn.BCEWithLogitsLoss(SCORES, SCORES), "BCEWithLogitsLoss: size_average must be True or "
         f"False, got a tensor; {CALLED}BCEWithLogitsLoss()(input, target)"),
        (ValueError, lambda: nn.MSELoss(SCORES),
         f"MSELoss: size_average must be True or False, got a tensor; {CALLED}MSELoss()(input, target)"),
        (ValueError, lambda: nn.L1Loss("avg"),
         "L1Loss: size_average must be True or False, got 'avg'; reduction='avg'?"),
        (ValueError, lambda: nn.L1Loss(reduction="avg"),
         "L1Loss: reduction must be 'none', 'mean' or 'sum', got 'avg'"),
        (tc.CallError, lambda: nn.MSELoss(SCORES, SCORES, SCORES, SCORES), "MSELoss: too many positional arguments; to "
         "apply it to a tensor, make it first and then call it: MSELoss(...)(x)\n"
         "  it takes MSELoss(size_average=None, reduce=None, reduction='mean')"),
    ],
)  # fmt: skip
def test_losses(error, call, expected):
    assert message(error, call) == expected


ITERABLE = "expected an iterable of tensors or of groups, got"


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda net: optim.SGD(net, lr=0.1), f"SGD: {ITERABLE} Net; for a module, pass module.parameters()"),
        (lambda net: optim.SGD(nn.Sequential(net), lr=0.1),
         f"SGD: {ITERABLE} Sequential; for a module, pass module.parameters()"),
        (lambda net: optim.Adam(net.parameters), f"Adam: {ITERABLE} the method parameters; call it: parameters()"),
        (lambda net: optim.Adam(Net), f"Adam: {ITERABLE} the class Net; make one first: Net(...).parameters()"),
        (lambda net: optim.SGD(0.1, 0.9), f"SGD: {ITERABLE} float; the parameters come first: model.parameters()"),
        (lambda net: optim.SGD(net.state_dict(), lr=0.1),
         f"SGD: {ITERABLE} one dict; for a state_dict, pass model.parameters()"),
        (lambda net: optim.SGD("fc", lr=0.1), f"SGD: {ITERABLE} str; for a module, pass module.parameters()"),
        (lambda net: optim.SGD([net.fc], lr=0.1),
         "SGD: expected tensors, got Linear at position 0; pass its parameters()"),
        (lambda net: optim.SGD([net.parameters(), net.parameters()], lr=0.1), "SGD: expected tensors, got generator at "
         "position 0; several iterables as one: [*a.parameters(), *b.parameters()]"),
        (lambda net: optim.SGD([*net.named_parameters(), *net.parameters()], lr=0.1),
         "SGD: expected tensors, got tuple at position 0; pass all of named_parameters(), or parameters() alone"),
        (lambda net: optim.clip_grad_norm_(net, 1.0),
         f"clip_grad_norm_: {ITERABLE} Net; for a module, pass module.parameters()"),
        (lambda net: optim.lr_scheduler.StepLR(net, 5), "StepLR: expected an Optimizer, got Net; make one first: "
         "tinyconv.optim.SGD(model.parameters(), lr=0.1)"),
        (lambda net: optim.SGD(net.parameters(), lr=0.1).step(SCORES.sum()), "SGD.step: takes nothing, or a function "
         "that computes the gradients, got a Tensor; loss.backward() first, then step()"),
    ],
)  # fmt: skip
def test_what_an_optimiser_takes(call, expected):
    assert message(TypeError, call, Net()) == expected


@pytest.mark.parametrize(
    ("optimiser", "given", "meant"),
    [
        ("SGD", "learning_rate", "lr"),
        ("Adam", "LR", "lr"),
        ("Adam", "beta", "betas"),
        ("SGD", "weightdecay", "weight_decay"),
    ],
)
def test_options_of_other_names(optimiser, given, meant):
    said = message(tc.CallError, lambda: getattr(optim, optimiser)(Net().parameters(), **{given: 0.1}))
    assert said.startswith(
        f"{optimiser}: got an unexpected keyword argument {given!r}; did you mean {meant!r}?\n  it takes"
    )


def test_a_rate_that_is_no_rate():
    net = Net()
    for lr in (-1, "0.1", None):
        said = message(optim.OptionError, lambda lr=lr: optim.SGD(net.parameters(), lr=lr))
        assert said == f"SGD: lr: expected a finite number >= 0, got {lr!r}"


def test_a_generator_that_is_used_up():
    parameters = Net().parameters()
    optim.SGD(parameters, lr=0.1)
    assert "was a generator used up before?" in message(optim.OptionError, lambda: optim.SGD(parameters, lr=0.1))


def test_tensors_that_nothing_trains():
    net = Net()
    with pytest.warns(UserWarning, match="none of the tensors requires grad or has one, so nothing is trained"):
        optim.SGD(net.state_dict().values(), lr=0.1).step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.fc.weight.requires_grad_(False)
        net(IMAGES).sum().backward()
        optim.SGD(net.parameters(), lr=0.1).step()


def test_a_step_before_backward():
    net = Net()
    optimizer = optim.SGD(net.parameters(), lr=0.1)
    with pytest.warns(UserWarning, match=r"none of the parameters has a gradient: was there no loss.backward\(\)"):
        optimizer.step()


# --- modules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([nn.ReLU(), F.relu], "1 is a function, not a Module; use nn.ReLU(), not F.relu"),
        ([nn.ReLU(), tc.relu], "1 is a function, not a Module; use nn.ReLU(), not F.relu"),
        ([nn.ReLU], "0 is the class ReLU, not a Module; use ReLU(...), an instance"),
        ([[nn.ReLU(), nn.ReLU()]], "0 is a list, not a Module; use nn.Sequential(*layers), with the star"),
        ([(nn.ReLU() for _ in range(2))], "0 is a generator, not a Module; use nn.Sequential(*layers), with the star"),
        ([("act", nn.ReLU())], "0 is a tuple, not a Module; use a dict of names and layers"),
        (["relu"], "0 is a str, not a Module; use nn.ReLU(), not F.relu"),
    ],
)
def test_what_a_sequential_takes(layers, expected):
    assert message(TypeError, nn.Sequential, *layers) == f"Sequential: {expected}"


@pytest.mark.parametrize("given", [[[1.0, 2.0]], np.zeros((2, 1, 28, 28), np.float32)])
@pytest.mark.parametrize("make", [Net, nn.Flatten])
def test_a_model_that_is_given_no_tensor(make, given):
    with pytest.raises((AttributeError, TypeError, ValueError)) as caught:
        make()(given) if isinstance(given, list) or make is Net else make()(None)
    kind = "NoneType" if make is nn.Flatten and not isinstance(given, list) else type(given).__name__
    assert f"{make.__name__} was called with a {kind}: tinyconv.tensor(x)?" in caught.value.__notes__


def test_a_forgotten_super():
    class Sets(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(1, 1)

    class SetsNothing(nn.Module):
        def __init__(self):
            pass

    assert message(AttributeError, Sets) == "Sets.__init__ must call super().__init__() before it sets 'fc'"
    for use in (lambda net: list(net.parameters()), repr, nn.Module.state_dict):
        said = message(AttributeError, use, SetsNothing())
        assert said == "SetsNothing.__init__ must call super().__init__()"


@pytest.mark.parametrize(
    ("name", "meant"),
    [("parameter", "parameters"), ("fcc", "fc"), ("zerograd", "zero_grad"), ("evaluate", ""), ("quux", "")],
)
def test_misspelt_attributes(name, meant):
    hint = f"; did you mean {meant!r}?" if meant else ""
    assert message(AttributeError, getattr, Net(), name) == f"Net has no attribute {name!r}{hint}"
    assert not hasattr(Net(), name)


def trainer(**wrong):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    digits = data.synthetic_digits(4)
    given = {"model": model, "optimizer": optim.SGD(model.parameters(), 0.1), "scheduler": None}
    given |= {"loader": data.DataLoader(digits, 2), "test": digits, "epochs": 1}
    return Trainer(**given | wrong)


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (
            lambda: nn.ReLU().train(data.DataLoader(data.synthetic_digits(4), 2)),
            "train only switches the mode of a model, and tinyconv.train.Trainer trains it; mode: expected",
        ),
        (lambda: nn.Linear(1, 1).requires_grad_("no"), "requires_grad_: expected True or False, got 'no'"),
        (
            lambda: nn.Flatten()((IMAGES, LABELS)),
            "Flatten was called with a batch of a loader, whose images are what a model takes",
        ),
        (lambda: F.relu((IMAGES, LABELS)), "relu: input must be a Tensor, got tuple of tensors: is it a batch?"),
        (
            lambda: F.cross_entropy(LABELS, tc.randn(4, 10)),
            "cross_entropy: input must be scores and target class numbers, got input int64 (4,) and target float32 ",
        ),
        (lambda: evaluate(Net(), X), "evaluate: expected images and labels, got batches such as tensor("),
        (
            lambda: nn.Conv2d(3, 6, 5)(tc.rand(28, 28, 3)),
            "conv2d: expected (N, C, H, W), got (28, 28, 3): one image, channels last? x.permute(2, 0, 1)[None]",
        ),
        (lambda: nn.ModuleList(nn.ReLU()), "ModuleList takes a list of modules, got one ReLU: put it in [ ]"),
        (lambda: trainer(epochs="1"), "Trainer: epochs: expected an integer >= 1, got '1'"),
        (lambda: trainer(epochs=0), "Trainer: epochs: expected an integer >= 1, got 0"),
        (
            lambda: trainer(optimizer=optim.Adam),
            "Trainer: optimizer: expected one of class Optimizer, got the class Adam: make one",
        ),
        (lambda: trainer(loader=[1, 2]), "Trainer: loader: expected one of class DataLoader, got [1, 2]"),
        (lambda: trainer(label_smoothing=2), "Trainer: label_smoothing: expected"),
        (lambda: Recipe(epoch=5), "Recipe: got an unexpected keyword argument 'epoch'; did you mean 'epochs'?"),
    ],
)
def test_trainings(call, expected):
    with pytest.raises((TypeError, ValueError, AttributeError)) as caught:
        call()
    said = [str(caught.value), *getattr(caught.value, "__notes__", [])]
    assert any(text.startswith(expected) for text in said), said


def test_a_list_in_a_list_of_modules():
    inner = nn.ModuleList([nn.ReLU(), nn.Tanh()])
    assert len(nn.ModuleList(inner)) == 2
