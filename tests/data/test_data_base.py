"""Datasets, samplers, collating and loaders beside PyTorch's, on the same items."""

import collections

import numpy as np
import pytest
import torch
from torch.utils import data as theirs

import tinyconv as tc
from tinyconv import data
from tinyconv.errors import DataError

Point = collections.namedtuple("Point", "x y")
ITEMS = [
    [1, 2, 3],
    [1.5, 2.5],
    [True, False],
    [np.float32(1), np.float32(2)],
    [np.int16(1), np.int16(2)],
    ["a", "bc"],
    [b"a", b"bc"],
    [np.ones((2, 3), np.float64), np.zeros((2, 3))],
    [np.array(3), np.array(4)],
    [np.ones(2, np.uint8), np.zeros(2, np.uint8)],
    [(np.ones(2, np.float32), 1), (np.zeros(2, np.float32), 2)],
    [[1, 2.0], [3, 4.0]],
    [{"a": 1, "b": (np.ones(2), "x")}, {"a": 2, "b": (np.zeros(2), "y")}],
    [Point(1, 2.0), Point(3, 4.0)],
    [collections.OrderedDict(a=1), collections.OrderedDict(a=2)],
    [((1, 2), 3), ((4, 5), 6)],
]


def same(ours, expected):
    """Whether a batch of ours is PyTorch's: structure, dtypes, shapes and values."""
    if isinstance(expected, torch.Tensor):
        return isinstance(ours, tc.Tensor) and ours.numpy().dtype == expected.numpy().dtype and np.array_equal(
            ours.numpy(), expected.numpy()
        )  # fmt: skip
    if isinstance(expected, dict):
        return type(ours) is type(expected) and {k: same(ours[k], v) for k, v in expected.items()} == dict.fromkeys(
            ours, True
        )
    if isinstance(expected, list | tuple):
        return type(ours) is type(expected) and len(ours) == len(expected) and all(map(same, ours, expected))
    return ours == expected


@pytest.mark.parametrize("items", ITEMS, ids=repr)
def test_default_collate_and_convert(items):
    assert same(data.default_collate(items), theirs.default_collate(items))
    assert same(data.default_convert(items[0]), theirs.default_convert(items[0]))


def test_collating_tensors():
    made = data.default_collate([(tc.ones(2), tc.tensor(3)), (tc.zeros(2), tc.tensor(4))])
    assert [t.tolist() for t in made] == [[[1.0, 1.0], [0.0, 0.0]], [3, 4]]
    assert same(data.default_collate([torch.ones(2), torch.zeros(2)]), torch.tensor([[1.0, 1.0], [0.0, 0.0]]))


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([np.ones(2), np.ones(3)], "a batch needs items of one shape, got .*Resize.*collate_fn"),
        ([(1, 2), (1,)], r"items of one length, got \[1, 2\]"),
        ([object()], "got object; give the DataLoader a collate_fn"),
        ([None], "got NoneType"),
    ],
)
def test_items_that_make_no_batch(items, expected):
    with pytest.raises(DataError, match=expected):
        data.default_collate(items)


def test_a_picture_makes_no_batch():
    image = pytest.importorskip("PIL.Image").new("L", (2, 2))
    with pytest.raises(DataError, match=r"got a picture of Pillow; give the dataset transform=transforms.ToTensor\(\)"):
        data.default_collate([(image, 1)])


class Squares(data.Dataset):
    def __init__(self, n=10):
        self.n = n
        self.asked = []

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        self.asked.append(i)
        return np.full(2, i, np.float32), i * i


class Many(Squares):
    def __getitems__(self, indices):
        return [self[i] for i in indices]


class Stream(data.IterableDataset):
    def __iter__(self):
        return iter((float(i), i) for i in range(7))


class TorchStream(theirs.IterableDataset):
    __iter__ = Stream.__iter__


X, Y = np.arange(40, dtype=np.float32).reshape(10, 4), np.arange(10) % 3
PAIRS = list(zip(X, Y.tolist(), strict=True))


def datasets():
    """A dataset of ours, and PyTorch's of the same items."""
    whole = data.TensorDataset(tc.tensor(X), tc.tensor(Y)), theirs.TensorDataset(torch.tensor(X), torch.tensor(Y))
    return {
        "list": (PAIRS, PAIRS),
        "dict": (dict(enumerate(PAIRS)), dict(enumerate(PAIRS))),
        "array": (X, torch.tensor(X)),
        "tensor": (tc.tensor(X), torch.tensor(X)),
        "own": (Squares(), Squares()),
        "many": (Many(), Many()),
        "tensors": whole,
        "gradients": (data.TensorDataset(tc.tensor(X, requires_grad=True), tc.tensor(Y)), whole[1]),
        "subset": (data.Subset(whole[0], [7, 1, 1, 4]), theirs.Subset(whole[1], [7, 1, 1, 4])),
        "subset of own": (data.Subset(Squares(), range(2, 9)), theirs.Subset(Squares(), range(2, 9))),
        "both": (whole[0] + whole[0], whole[1] + whole[1]),
        "stream": (Stream(), TorchStream()),
    }


OPTIONS = [
    {"batch_size": 3},
    {"batch_size": 3, "drop_last": True},
    {"batch_size": None},
    {"batch_size": 4, "collate_fn": len},
    {"batch_size": 2, "sampler": [3, 1, 2]},
    {"batch_sampler": [[3, 1], [2]]},
    {"batch_size": None, "sampler": [3, 1, 2]},
]


@pytest.mark.parametrize("options", OPTIONS, ids=repr)
@pytest.mark.parametrize("kind", list(datasets()))
def test_batches_are_those_of_pytorch(kind, options):
    ours, expected = datasets()[kind]
    if kind == "stream" and ("sampler" in options or "batch_sampler" in options):
        with pytest.raises(DataError, match="an IterableDataset has its own order"):
            data.DataLoader(ours, **options)
        return
    loader, reference = data.DataLoader(ours, **options), theirs.DataLoader(expected, **options)
    got = [t.detach() if isinstance(t, tc.Tensor) else t for t in loader]
    assert len(got) > 0
    for one, other in zip(got, reference, strict=True):
        assert same(one, other), (one, other)
    assert loader.batch_size == reference.batch_size
    if kind == "stream":
        with pytest.raises(TypeError, match="Stream has no len"):
            len(loader)
    else:
        assert len(loader) == len(reference)
        assert loader.dataset is ours


def test_gradients_go_through_a_tensor_dataset():
    x = tc.tensor(X, requires_grad=True)
    for (rows,) in data.DataLoader(data.TensorDataset(x), 4):
        rows.sum().backward()
    assert x.grad.tolist() == np.ones_like(X).tolist()


def test_a_batch_is_asked_for_when_its_turn_comes():
    squares = Squares()
    batches = iter(data.DataLoader(squares, 4))
    assert squares.asked == []
    next(batches)
    assert squares.asked == [0, 1, 2, 3]


def test_an_error_in_an_item_says_which():
    class Wrong(Squares):
        def __getitem__(self, i):
            return 1 / (i - 5)

    with pytest.raises(ZeroDivisionError) as caught:
        list(data.DataLoader(Wrong(), 4))
    assert caught.value.__notes__[-1] == "in item 5 of the Wrong that a DataLoader loads"


def test_floats_of_any_rank():
    """Regression on vectors: nothing but images has to be (N, C, H, W)."""
    targets = np.linspace(0, 1, 10)
    x, y = next(iter(data.DataLoader((X.astype(np.float64), targets), 5)))
    assert (x.shape, x.dtype, y.shape, y.dtype) == ((5, 4), tc.float32, (5,), tc.float32)
    tokens, y = next(iter(data.DataLoader((np.arange(20).reshape(10, 2), targets[:, None]), 5, device="cpu")))
    assert (tokens.dtype, y.shape) == (tc.int64, (5, 1))
    assert data.DataLoader((X, Y)).dataset[3][0].tolist() == X[3].tolist()
    assert len(data.DataLoader((X, Y)).dataset) == 10


# --- order ----------------------------------------------------------------------------------------------------------


def epochs(loader, n=3):
    return [tuple(int(i) for batch in loader for i in batch[0]) for _ in range(n)]


SOURCES = {
    "items": lambda: [(i, 0) for i in range(30)],
    "arrays": lambda: data.TensorDataset(tc.arange(30)),
    "pair": lambda: (np.arange(30), np.zeros(30)),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_order_comes_from_manual_seed(kind):
    def loader(**options):
        return data.DataLoader(SOURCES[kind](), 8, shuffle=True, **options)

    tc.manual_seed(0)
    first = epochs(loader())
    assert len(set(first)) == 3
    assert all(sorted(order) == list(range(30)) for order in first)
    assert len({epochs(loader(), 1)[0] for _ in range(4)} - set(first)) == 4  # a loader made in each epoch
    tc.manual_seed(0)
    assert epochs(loader()) == first
    again = loader()
    tc.manual_seed(0)
    assert epochs(again, 1) == first[:1]
    tc.manual_seed(0)
    assert epochs(again, 1) == first[:1]
    before = tc.get_rng_state()
    own = epochs(loader(generator=tc.Generator().manual_seed(5)))
    assert own == epochs(loader(generator=tc.Generator().manual_seed(5)))
    assert len(set(own)) == 3
    assert epochs(loader(seed=1)) == epochs(loader(seed=1))
    assert epochs(data.DataLoader(SOURCES[kind](), 8)) == [tuple(range(30))] * 3
    assert tc.get_rng_state() == before  # what is not random draws nothing


def test_flips_take_turns_from_epoch_to_epoch_without_a_seed():
    """What an augmentation is told of a loader that draws its orders anew: one seed, and the number of the epoch."""
    images = np.arange(40 * 4, dtype=np.float32).reshape(40, 1, 2, 2)
    loader = data.DataLoader((images, np.arange(40)), 8, shuffle=True, augment=data.AlternatingFlip())
    flips = []
    for _ in range(4):
        flipped = np.zeros(40, bool)
        for x, y in loader:
            flipped[y.numpy()] = (x.numpy() != images[y.numpy()]).any((1, 2, 3))
        flips.append(flipped)
    assert (flips[0] ^ flips[1]).all()
    assert (flips[0] == flips[2]).all()
    assert 5 < flips[0].sum() < 35


def test_two_iterations_of_a_loader_at_once():
    loader = data.DataLoader(data.TensorDataset(tc.arange(30)), 8, shuffle=True)
    one, other = iter(loader), iter(loader)
    orders = [[], []]
    for a, b in zip(one, other, strict=True):
        orders[0] += a[0].tolist()
        orders[1] += b[0].tolist()
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(30))
    assert orders[0] != orders[1]


@pytest.mark.parametrize("kind", SOURCES)
def test_an_epoch_resumes_in_its_middle(kind):
    def batches(start):
        loader = data.DataLoader(SOURCES[kind](), 8, shuffle=True, seed=3)
        return [batch[0].tolist() for batch in loader.batches(2, start)]

    assert batches(2) == batches(0)[2:]


def test_next_goes_from_epoch_to_epoch():
    loader = data.DataLoader(SOURCES["items"](), 15, shuffle=True, seed=0)
    got = [tuple(loader.next()[0].tolist()) for _ in range(4)]
    assert sorted(got[0] + got[1]) == sorted(got[2] + got[3]) == list(range(30))
    assert got[0] != got[2]


def test_a_sampler_has_no_numbered_batches():
    loader = data.DataLoader(SOURCES["arrays"](), 8, sampler=range(5))
    for call in (lambda: loader.order(0), lambda: next(loader.batches(0)), loader.next):
        with pytest.raises(DataError, match="a sampler has the order"):
            call()


def test_captured_steps_take_batches_of_tensors():
    loader = data.DataLoader(data.TensorDataset(tc.arange(12).float()), 4, shuffle=True, seed=0)

    @tc.capture
    def step():
        (x,) = loader.next()
        return x.sum()

    got = [step().item() for _ in range(6)]
    again = data.DataLoader(data.TensorDataset(tc.arange(12).float()), 4, shuffle=True, seed=0)
    assert got == [again.next()[0].sum().item() for _ in range(6)]
    items = data.DataLoader(SOURCES["items"](), 5)
    one_by_one = tc.capture(lambda: items.next()[0].sum())
    one_by_one()
    with pytest.raises(tc.CaptureError, match="asked for one by one, which no replay can do"):
        one_by_one()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"batch_sampler": [[0]], "batch_size": 2}, "a batch_sampler says all"),
        ({"batch_sampler": [[0]], "shuffle": True}, "a batch_sampler says all"),
        ({"sampler": [0], "shuffle": True}, "a sampler is an order"),
        ({"batch_size": None, "drop_last": True}, "batch_size=None makes no batches"),
        ({"timeout": -1}, "timeout"),
    ],
)
def test_arguments_that_exclude_each_other(options, expected):
    with pytest.raises(DataError, match=expected):
        data.DataLoader(PAIRS, **options)
    with pytest.raises(ValueError, match=r"."):
        theirs.DataLoader(PAIRS, **options)


def test_what_needs_no_worker_is_taken():
    options = dict(num_workers=4, pin_memory=True, persistent_workers=True, prefetch_factor=2, timeout=3.0)  # noqa: C408
    loader = data.DataLoader(PAIRS, 5, worker_init_fn=print, multiprocessing_context="spawn", **options)
    assert [len(y) for _, y in loader] == [5, 5]
    assert loader.num_workers == 4


# --- datasets and samplers ------------------------------------------------------------------------------------------


def test_concatenation_and_subsets():
    whole = data.ConcatDataset([PAIRS[:3], data.Subset(PAIRS, [5, 6]), PAIRS[9:]])
    assert (len(whole), whole.cumulative_sizes) == (6, [3, 5, 6])
    assert [whole[i][0][0] for i in (*range(6), -1, -6)] == [0, 4, 8, 20, 24, 36, 36, 0]
    for wrong in (6, -7):
        with pytest.raises(IndexError, match=f"index {wrong} of a dataset of 6 items"):
            whole[wrong]
    with pytest.raises(DataError, match="datasets that have a length"):
        data.ConcatDataset([Stream()])
    with pytest.raises(DataError, match="got none"):
        data.ConcatDataset([])
    with pytest.raises(NotImplementedError, match="needs a method __getitem__"):
        data.Dataset()[0]
    assert list(data.Subset(tc.arange(5), [3, 1])[[1, 0]].tolist()) == [1, 3]


def test_tensor_datasets():
    one = data.TensorDataset(X, tc.tensor(Y))
    assert (len(one), one[3][0].tolist(), one[-1][1].item()) == (10, X[3].tolist(), Y[-1])
    for tensors in ((), (tc.ones(2), tc.ones(3)), (tc.tensor(1.0),)):
        with pytest.raises(DataError, match="TensorDataset takes tensors of one length"):
            data.TensorDataset(*tensors)


@pytest.mark.parametrize("lengths", [[7, 3], [0.7, 0.3], [0.5, 0.25, 0.25], [1.0], [10], [1 / 3, 1 / 3, 1 / 3]])
def test_random_split(lengths):
    parts = data.random_split(PAIRS, lengths, generator=tc.Generator().manual_seed(0))
    assert [len(part) for part in parts] == [len(part) for part in theirs.random_split(PAIRS, lengths)]
    assert sorted(i for part in parts for i in part.indices) == list(range(10))
    again = data.random_split(PAIRS, lengths, generator=tc.Generator().manual_seed(0))
    assert [part.indices for part in again] == [part.indices for part in parts]


@pytest.mark.parametrize("lengths", [[7, 4], [0.7, 0.4], [-1, 11], [], [1.5, -0.5]])
def test_lengths_that_are_no_split(lengths):
    with pytest.raises(DataError, match="random_split"):
        data.random_split(PAIRS, lengths)
    if min(lengths, default=0) != -1:  # which PyTorch takes
        with pytest.raises(ValueError, match=r"."):
            theirs.random_split(PAIRS, lengths)


@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        (lambda d: d.SequentialSampler(PAIRS), list(range(10))),
        (lambda d: d.RandomSampler(PAIRS), list(range(10))),
        (lambda d: d.SubsetRandomSampler([4, 8, 2]), [2, 4, 8]),
        (lambda d: d.WeightedRandomSampler([0, 1, 0, 2], 2, replacement=False), [1, 3]),
        (lambda d: d.WeightedRandomSampler([0, 1.0, 0], 4), [1] * 4),
    ],
)  # fmt: skip
def test_samplers_give_what_those_of_pytorch_give(ours, expected):
    own, other = ours(data), ours(theirs)
    assert sorted(own) == sorted(other) == expected
    assert len(own) == len(other) == len(expected)


def test_random_samplers():
    tc.manual_seed(0)
    sampler = data.RandomSampler(PAIRS, num_samples=25)
    order = list(sampler)
    assert (len(order), len(sampler), max(collections.Counter(order).values())) == (25, 25, 3)
    assert order != list(sampler)
    tc.manual_seed(0)
    assert list(sampler) == order
    many = list(data.RandomSampler(PAIRS, replacement=True, num_samples=1000))
    assert set(many) == set(range(10))
    batches = data.BatchSampler(range(7), 3, drop_last=False)
    assert (list(batches), len(batches)) == ([[0, 1, 2], [3, 4, 5], [6]], 3)
    batches = data.BatchSampler(range(7), 3, drop_last=True)
    assert (list(batches), len(batches)) == ([[0, 1, 2], [3, 4, 5]], 2)
    with pytest.raises(DataError, match="weights must be one number >= 0"):
        data.WeightedRandomSampler([0.0, 0.0], 1)
    with pytest.raises(DataError, match="num_samples: 3 of 2 items with a weight"):
        data.WeightedRandomSampler([1.0, 0.0, 2.0], 3, replacement=False)
    shares = np.bincount(list(data.WeightedRandomSampler(tc.tensor([1.0, 3.0]), 4000))) / 4000
    assert abs(shares[1] - 0.75) < 0.05


def test_evaluate_takes_any_loader():
    from tinyconv import nn, train

    digits = data.synthetic_digits(60)
    tc.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    share = train.evaluate(model, digits)
    items = data.DataLoader([digits[i] for i in range(60)], 13)
    assert train.evaluate(model, items) == train.evaluate(model, data.Subset(digits, range(60))) == share
    with pytest.raises(TypeError, match="Trainer: loader: expected one without a sampler"):
        train.Trainer(model, tc.optim.SGD(model.parameters(), 0.1), None, items, digits, 1)


def test_a_training_without_a_seed_resumes_in_its_order():
    from tinyconv import nn, optim, train

    digits = data.synthetic_digits(60)

    def trainer():
        tc.manual_seed(1)
        model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
        loader = data.DataLoader(digits, 20, shuffle=True, augment=data.RandomShift(2))
        return train.Trainer(model, optim.SGD(model.parameters(), 0.01), None, loader, digits, 2)

    one = trainer()
    reports = one.run()
    next(reports), next(reports)
    other = trainer()
    tc.manual_seed(99)
    other.model.load_state_dict(one.model.state_dict())
    other.optimizer.load_state_dict(one.optimizer.state_dict())
    other.load_state_dict(one.state_dict())
    losses = [r.loss for r in other.run() if isinstance(r, train.StepReport)]
    assert losses == [r.loss for r in reports if isinstance(r, train.StepReport)]
