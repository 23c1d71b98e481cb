"""Every public object can be deep-copied and pickled, and the copy works; or the error says why not."""

import copy
import functools
import multiprocessing
import pickle

import numpy as np
import pytest
from messages import message
from test_docstrings import ROOMS, called, public

import tinyconv as tc
from tinyconv import check, data, inspect, models, nn, optim, train
from tinyconv.data import transforms
from tinyconv.optim import lr_scheduler, swa_utils

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def pickled(x, protocol=pickle.HIGHEST_PROTOCOL):
    return pickle.loads(pickle.dumps(x, protocol))


WAYS = {"deepcopy": copy.deepcopy, **{f"pickle {n}": functools.partial(pickled, protocol=n) for n in PROTOCOLS}}
every_way = pytest.mark.parametrize("again", WAYS.values(), ids=WAYS)


# --- models and optimisers ------------------------------------------------------------------------------------------

OPTIMIZERS = {
    "SGD": lambda params: optim.SGD(params, lr=0.1),
    "SGD with momentum": lambda params: optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda params: optim.Adam(params, amsgrad=True),
    "AdamW": lambda params: optim.AdamW(params),
    "RMSprop": lambda params: optim.RMSprop(params, centered=True, momentum=0.5),
}


def net():
    tc.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2), nn.Dropout(0.0))


def step(model, optimizer, n=1):
    for _ in range(n):
        optimizer.zero_grad()
        (model(tc.arange(12, dtype=tc.float32).reshape(4, 3)) ** 2).sum().backward()
        optimizer.step()
    return {name: t.tolist() for name, t in model.state_dict().items()}


@every_way
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_copy_of_an_optimiser_trains_the_copy_of_its_model(kind, again):
    model = net()
    optimizer = OPTIMIZERS[kind](model.parameters())
    schedule = lr_scheduler.StepLR(optimizer, 2)
    step(model, optimizer, 3)
    twin, its, schedule_of_it = again((model, optimizer, schedule))
    assert {id(p) for p in twin.parameters()} == {id(p) for group in its.param_groups for p in group["params"]}
    assert schedule_of_it.optimizer is its
    for move in (schedule, schedule_of_it):
        move.step(), move.step()
    before = {name: t.tolist() for name, t in model.state_dict().items()}
    after = step(twin, its, 3)
    assert {name: t.tolist() for name, t in model.state_dict().items()} == before  # the other stays where it was
    assert step(model, optimizer, 3) == after
    assert optimizer.state_dict()["param_groups"] == its.state_dict()["param_groups"]


def test_a_shallow_copy_of_an_optimiser_shares_its_state():
    model = net()
    optimizer = optim.Adam(model.parameters())
    step(model, optimizer)
    twin = copy.copy(optimizer)
    expected = net()
    step(expected, expected_optimizer := optim.Adam(expected.parameters()), 3)
    step(model, twin), step(model, optimizer)
    assert twin.state is optimizer.state
    assert step(model, optimizer) == step(expected, expected_optimizer)


def test_an_optimiser_that_was_copied_alone_has_parameters_of_its_own():
    model = net()
    optimizer = optim.Adam(model.parameters())
    step(model, optimizer)
    twin = pickled(optimizer)
    before = {name: t.tolist() for name, t in model.state_dict().items()}
    for p in twin.param_groups[0]["params"]:
        p.grad = tc.ones_like(p)
    twin.step()
    assert {name: t.tolist() for name, t in model.state_dict().items()} == before


@every_way
def test_a_training_goes_on_bit_for_bit_in_its_copy(again):
    model = net()
    optimizer = optim.AdamW(model.parameters())
    rng = np.random.default_rng(0)
    images, labels = rng.random((40, 1, 1, 3), np.float32), rng.integers(0, 2, 40)
    whole = nn.DataParallel(nn.Sequential(nn.Flatten(), model), tile=4)
    loader = data.DataLoader((images, labels), 8, shuffle=True)
    test = data.ImageDataset(np.zeros((5, 1, 1, 3), np.uint8), np.zeros(5, np.int64), ("a", "b"), (0.0,), (1.0,))
    schedule = lr_scheduler.OneCycleLR(optimizer, 0.1, epochs=3, steps_per_epoch=len(loader))
    trainer = train.Trainer(whole, optimizer, schedule, loader, test, 3)
    for _, _ in zip(range(7), trainer.run(), strict=False):
        pass
    twin = again(trainer)
    left = [report.loss for report in trainer.run() if isinstance(report, train.StepReport)]
    assert [report.loss for report in twin.run() if isinstance(report, train.StepReport)] == left
    ends = [{name: t.tolist() for name, t in t.model.state_dict().items()} for t in (trainer, twin)]
    assert ends[0] == ends[1]


# --- tensors --------------------------------------------------------------------------------------------------------


@every_way
def test_tensors_that_share_all_of_their_memory_share_it_in_the_copy(again):
    x = tc.randn(2, 3)
    tied = nn.Parameter(tc.zeros(3, 2))
    tied.data = x.reshape(3, 2)
    flat, whole, parameter = again([x.reshape(6), x.detach(), tied])
    whole[0, 0] = 7.0
    assert flat[0].item() == parameter[0, 0].item() == 7.0
    assert x[0, 0].item() != 7.0
    assert parameter.requires_grad
    assert isinstance(parameter, nn.Parameter)


@every_way
def test_a_model_and_its_state_stay_one(again):
    model = nn.Linear(2, 2)
    twin, state = again((model, model.state_dict()))
    state["weight"].fill_(3.0)
    assert twin.weight.tolist() == [[3.0, 3.0], [3.0, 3.0]] != model.weight.tolist()


@every_way
def test_a_part_of_a_larger_memory_is_copied_alone(again):
    pixels = np.zeros((1000, 1000), np.float32)
    row = tc.from_numpy(pixels)[3]
    assert again(row).array.base is None or again(row).array.base.size == 1000
    assert len(pickle.dumps(row)) < 10_000
    column = again(tc.arange(6).reshape(2, 3)[:, 1])
    assert column.tolist() == [1, 4]
    transposed = again(tc.arange(6).reshape(2, 3).transpose(0, 1))
    assert transposed.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert again(tc.ones(1).expand(4)).tolist() == [1.0] * 4


@every_way
def test_a_write_to_the_copy_is_noticed(again):
    x = again(tc.ones(3))
    w = tc.ones(3, requires_grad=True)
    loss = (w * x).sum()
    x.fill_(2.0)
    assert "saved input 1" in message(tc.GraphError, loss.backward)


@every_way
def test_a_model_without_values(again):
    with tc.device("meta"):
        model = again(nn.Linear(2, 3))
    assert (model.weight.device, model.weight.shape) == ("meta", (3, 2))
    with tc.device("meta"):
        model = nn.Linear(1 << 20, 1 << 20)
    assert len(pickle.dumps(model)) < 10_000


def test_copy_copy_shares_memory_as_in_torch():
    torch = pytest.importorskip("torch")
    for x in (tc.ones(2), torch.ones(2)):
        twin = copy.copy(x)
        twin[0] = 5.0
        assert x.tolist() == [5.0, 1.0]


def test_pickles_of_a_tensor_from_before_memory_was_shared():
    from tinyconv.tensor.memory import unpickle

    x = unpickle(nn.Parameter, np.ones((2, 1), np.float32), "cpu", True)
    assert (type(x), x.tolist(), x.requires_grad) == (nn.Parameter, [[1.0], [1.0]], True)


@pytest.mark.parametrize("again", [*WAYS.values(), copy.copy], ids=[*WAYS, "copy"])
def test_the_tape_cannot_be_copied(again):
    y = tc.ones(2, requires_grad=True) * 2
    assert "only leaves can be " in message(tc.GraphError, again, y)
    assert message(tc.GraphError, again, y.grad_fn).startswith(
        "the tape cannot be copied or pickled, but only its leaves: <Mul"
    )


@pytest.mark.parametrize("again", WAYS.values(), ids=WAYS)
def test_what_python_itself_cannot_copy(again):
    epoch = iter(data.DataLoader(data.synthetic_digits(10), 5))
    assert message(TypeError, again, epoch) == "cannot pickle 'generator' object"


# --- everything that is exported ------------------------------------------------------------------------------------

DIGITS = data.synthetic_digits(20)
LENET = models.lenet5()
IMAGE = tc.ones(1, 1, 28, 28)


def optimizer(kind=optim.SGD):
    return kind(nn.Linear(2, 2).parameters(), lr=0.1)


def profiled():
    with tc.profile() as p:
        LENET(IMAGE).sum().backward()
    return p


def digits():
    """A session, its parts, and its checkpoint."""
    run = train.new_run("lenet5", "synthetic", 0, train.RECIPES["default"])
    model = models.lenet5()
    trainer = train.Trainer(nn.DataParallel(model), optimizer(), None, data.DataLoader(DIGITS, 5), DIGITS, 1)
    stored = train.Checkpoint("a.safetensors", run, trainer.state_dict(), {}, trainer.optimizer.state_dict())
    return [train.Session(run, model, trainer), trainer, model, stored]


def recorded():
    """A recording of a convolution, and one of each thing that it has or that is asked of it."""
    recording = inspect.record(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()), tc.ones(1, 1, 4, 4), 1)
    frame = recording.frames[0]
    explanation = inspect.explain(frame, "y", (0, 1, 1, 1))
    columns = inspect.columns(frame, "y", (0, 1, 1, 1))
    return recording, frame, frame.outputs[0], frame.source, explanation, explanation.terms[0], columns


def sequence():
    optimizer = optim.SGD([tc.ones(1)])
    parts = [lr_scheduler.StepLR(optimizer, 2) for _ in range(2)]
    return lr_scheduler.SequentialLR(optimizer, parts, [3])


TRANSFORMS = {
    **dict.fromkeys(("CenterCrop", "Pad", "RandomCrop", "RandomResizedCrop", "Resize"), (3,)),
    **dict.fromkeys(("Grayscale", "PILToTensor", "ToImage", "ToPILImage", "ToTensor"), ()),
    **dict.fromkeys(("RandomGrayscale", "RandomHorizontalFlip", "RandomVerticalFlip"), (0.5,)),
    "RandomRotation": (10,),
    **dict.fromkeys(("Compose", "RandomApply"), ([abs],)),
    "ConvertImageDtype": ("float32",),
    "ToDtype": ("float32",),
    "Lambda": (abs,),
    "Normalize": ([0.5], [0.5]),
}


def samples():
    """An object of each public class, and of each model."""
    summary, maps = tc.summary(LENET, (1, 28, 28)), tc.feature_maps(LENET, np.zeros((1, 28, 28), np.float32))
    trace, profile, report = tc.trace(LENET(IMAGE)), profiled(), check.check_op(tc.ops.Relu, shapes=[(2, 3)])
    return [
        *(tc.ones(2), nn.Parameter(tc.ones(2)), tc.device("cpu"), tc.float32, tc.get_rng_state(), tc.Generator()),
        *(
            tc.no_grad(),
            tc.as_torch(),
            tc.autocast(enabled=False),
            tc.GradScaler(enabled=False),
            tc.enable_grad(),
            tc.inference_mode(),
            tc.set_grad_enabled(True),
            tc.detect_anomaly(),
            tc.using("readable"),
            profile,
            profile.events[0],
            profile.by_op()[0],
        ),
        *(report, report.cases[0], report.reports[0], check.Agreement(1.0)),
        *(DIGITS, data.DataLoader(DIGITS, 5), *data.verify("mnist", "nowhere")[:1], data.RandomShift(2)),
        *(data.TensorDataset(tc.ones(4, 2)), data.Subset(DIGITS, [0, 1]), DIGITS + DIGITS),
        *(data.SequentialSampler(DIGITS), data.RandomSampler(DIGITS), data.SubsetRandomSampler([1, 2])),
        *(getattr(transforms, name)(*given) for name, given in TRANSFORMS.items()),
        *(transforms.InterpolationMode.BICUBIC, data.PictureFolder("pets")),
        *(data.WeightedRandomSampler([1.0, 2.0], 2), data.BatchSampler(range(4), 2, False)),
        data.vision.FakeData(2, (1, 4, 4)),
        *(data.Compose([data.RandomShift(1)]), data.Cutout(3), data.RandomCrop(2), data.RandomHorizontalFlip()),
        data.AlternatingFlip(),
        *(summary, summary.layers[0], summary.layers[0].fields[0], maps, maps.layers[0]),
        *(
            trace,
            trace.rows[0],
            tc.inspect.Part("relu", "ops.py:1"),
            trace.leaves[0],
            tc.Cake.parse("conv 6 5; relu; fc 10"),
        ),
        *map(optimizer, (optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.Adagrad, optim.Adadelta)),
        *map(optimizer, (optim.Adamax, optim.NAdam, optim.RAdam)),
        optim.Muon([tc.ones(2, 2)]),
        *(lr_scheduler.CosineAnnealingLR(optimizer(), 5), lr_scheduler.LinearLR(optimizer())),
        *(lr_scheduler.MultiStepLR(optimizer(), [2]), lr_scheduler.StepLR(optimizer(), 2)),
        lr_scheduler.OneCycleLR(optimizer(), 0.1, 10, cycle_momentum=False),
        *(lr_scheduler.ConstantLR(optimizer()), lr_scheduler.ExponentialLR(optimizer(), 0.9)),
        *(lr_scheduler.PolynomialLR(optimizer()), lr_scheduler.LambdaLR(optimizer(), float)),
        *(lr_scheduler.MultiplicativeLR(optimizer(), float), lr_scheduler.ReduceLROnPlateau(optimizer())),
        lr_scheduler.CosineAnnealingWarmRestarts(optimizer(), 3),
        lr_scheduler.CyclicLR(optimizer(), 0.1, 0.2, cycle_momentum=False),
        lr_scheduler.ChainedScheduler([lr_scheduler.StepLR(optimizer(), 2)]),
        sequence(),
        *(*digits(), train.RECIPES["default"], train.new_run("lenet5", "synthetic", 0, train.RECIPES["default"])),
        *(train.StepReport(1, 2, 3, 0.5), train.EvalReport(1, 2, 3), train.EpochReport(1, 0.5, 0.9, 1.0)),
        *(
            nn.CELU(),
            nn.ELU(),
            nn.GLU(),
            nn.SELU(True),
            nn.Hardshrink(),
            nn.Hardsigmoid(),
            nn.Hardswish(),
            nn.Hardtanh(),
        ),
        *(nn.LogSigmoid(), nn.Mish(), nn.PReLU(), nn.RReLU(), nn.ReLU6(), nn.Softmax2d(), nn.Softmin(), nn.Softplus()),
        *(nn.Softshrink(), nn.Softsign(), nn.Tanhshrink(), nn.Threshold(1, 2)),
        *(nn.AlphaDropout(), nn.Dropout1d(), nn.Dropout2d(), nn.FeatureAlphaDropout(), nn.Unflatten(1, (2, 3))),
        *(nn.GroupNorm(2, 4), nn.InstanceNorm1d(2), nn.InstanceNorm2d(2, affine=True), nn.LocalResponseNorm(2)),
        *(nn.RMSNorm(3), nn.Bilinear(2, 3, 4), nn.CosineSimilarity(), nn.PairwiseDistance()),
        *(nn.BCELoss(), nn.CosineEmbeddingLoss(), nn.GaussianNLLLoss(), nn.HingeEmbeddingLoss(), nn.HuberLoss()),
        *(nn.KLDivLoss(), nn.MarginRankingLoss(), nn.MultiLabelSoftMarginLoss(), nn.MultiMarginLoss()),
        *(nn.PoissonNLLLoss(), nn.SmoothL1Loss(), nn.SoftMarginLoss(), nn.TripletMarginLoss()),
        *(nn.Embedding(3, 2), nn.ParameterList([tc.ones(2)]), nn.ParameterDict({"a": tc.ones(2)}), nn.LazyLinear(2)),
        *(
            nn.LazyConv1d(2, 3),
            nn.LazyConv2d(2, 3),
            nn.LazyConvTranspose1d(2, 3),
            nn.LazyConvTranspose2d(2, 3),
            nn.LazyBatchNorm1d(),
            nn.LazyBatchNorm2d(),
            nn.LazyInstanceNorm1d(),
        ),
        *(nn.LazyInstanceNorm2d(), nn.UninitializedParameter()),
        *(nn.AdaptiveAvgPool2d(1), nn.AdaptiveMaxPool2d(1), nn.AvgPool2d(2), nn.BatchNorm1d(2), nn.BatchNorm2d(2)),
        *(nn.Conv2d(1, 2, 3), nn.Dropout(), nn.Flatten(), nn.GELU(), nn.Identity(), nn.LayerNorm(3), nn.LeakyReLU()),
        *(nn.Linear(2, 3), nn.LogSoftmax(1), nn.MaxPool2d(2), nn.ReLU(), nn.SiLU(), nn.Sigmoid(), nn.Softmax(1)),
        *(nn.Tanh(), nn.BCEWithLogitsLoss(tc.ones(2)), nn.CrossEntropyLoss(tc.ones(2)), nn.L1Loss(), nn.MSELoss()),
        *(nn.NLLLoss(), nn.Sequential(nn.ReLU()), nn.ModuleList([nn.ReLU()]), nn.ModuleDict({"a": nn.ReLU()})),
        *(swa_utils.AveragedModel(nn.Linear(1, 1)), swa_utils.SWALR(optimizer(), 0.1)),
        *(
            nn.Module(),
            nn.DataParallel(nn.Linear(1, 1)),
            nn.DistributedDataParallel(nn.Linear(1, 1)),
            nn.SyncBatchNorm(2),
        ),
        *(nn.Conv1d(1, 2, 3), nn.ConvTranspose1d(1, 2, 3), nn.ConvTranspose2d(1, 2, 3), nn.Unfold(2), nn.Fold(3, 2)),
        *(nn.MaxPool1d(2), nn.AvgPool1d(2), nn.LPPool1d(2, 2), nn.LPPool2d(2, 2), nn.MaxUnpool1d(2), nn.MaxUnpool2d(2)),
        *(nn.AdaptiveAvgPool1d(2), nn.AdaptiveMaxPool1d(2)),
        *(nn.CircularPad1d(1), nn.CircularPad2d(1), nn.ConstantPad1d(1, 2), nn.ConstantPad2d(1, 2)),
        *(nn.ReflectionPad1d(1), nn.ReflectionPad2d(1), nn.ReplicationPad1d(1), nn.ReplicationPad2d(1)),
        *(nn.ZeroPad1d(1), nn.ZeroPad2d(1), nn.ChannelShuffle(2), nn.PixelShuffle(2), nn.PixelUnshuffle(2)),
        *(nn.Upsample(2), nn.UpsamplingBilinear2d(2), nn.UpsamplingNearest2d(2)),
        *recorded(),
        *(models.create(name) for name in models.MODELS if name not in ("alexnet", "resnet50", "vgg16", "cake")),
    ]


SAMPLES = samples()
# The large models are Sequentials; a scheduler, an optimiser, a dataset and a sampler of no kind have no rule;
# a Function is never made.
BASES = {
    *("AlexNet", "ResNet50", "VGG16", "Function", "LRScheduler", "Optimizer"),
    *("Dataset", "IterableDataset", "Sampler"),
    *("BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor", "IntTensor"),
    *("LongTensor", "ShortTensor", "Variable"),  # which no tensor has as its class
    *("CIFAR10", "FashionMNIST", "ImageFolder", "MNIST", "VisionDataset"),  # which need files
    *("Graph", "Report"),  # of files in ONNX
}


def errors(kind=tc.TinyconvError):
    for error in kind.__subclasses__():
        yield error
        yield from errors(error)


ERRORS = sorted({tc.TinyconvError, *errors(), check.Disagreement, check.Vacuous}, key=called)


def test_no_public_class_is_left_out():
    known = {type(x) for x in SAMPLES} | set(ERRORS)
    left = {
        kind.__name__
        for room in ROOMS.values()
        for kind in public(room)
        if isinstance(kind, type) and kind not in known
    }
    assert left == BASES


def same(x, twin):
    """Whether one is a copy of the other, by all that can be seen of it."""
    assert type(twin) is type(x)
    if isinstance(x, tc.Tensor):
        return same(x.array, twin.array) and (x.dtype, x.requires_grad) == (twin.dtype, twin.requires_grad)
    if isinstance(x, np.ndarray):
        return np.array_equal(x, twin)
    if isinstance(x, dict):
        return x.keys() == twin.keys() and all(same(x[key], twin[key]) for key in x)
    if isinstance(x, list | tuple):
        return len(x) == len(twin) and all(map(same, x, twin))
    if isinstance(x, nn.Module):
        return repr(x) == repr(twin) and same(x.state_dict(), twin.state_dict()) and x.training == twin.training
    if isinstance(x, optim.Optimizer):
        return same(x.state_dict(), twin.state_dict())
    if isinstance(x, tc.Generator):
        return x.get_state() == twin.get_state()
    if isinstance(x, data.DataLoader):
        return all(map(same, x.batches(0), twin.batches(0)))
    if isinstance(x, train.Trainer):
        return same(x.state_dict(), twin.state_dict()) and same(x.model, twin.model)
    if hasattr(x, "__dict__") and type(x).__module__.startswith("tinyconv"):
        return same(*({k: v for k, v in vars(t).items() if k not in ("_entered", "fn")} for t in (x, twin)))
    return x is twin or x == twin or repr(x) == repr(twin)


@pytest.mark.parametrize("x", SAMPLES, ids=lambda x: type(x).__name__)
def test_whatever_is_public_can_be_copied_and_pickled(x):
    for name, again in {**WAYS, "copy": copy.copy}.items():
        assert same(x, again(x)), name


@pytest.mark.parametrize("kind", ERRORS, ids=called)
def test_an_error_keeps_all_it_says(kind):
    """Also its layer, as it has to come out of another process."""
    extra = {tc.CakeError: (1, 2, 3), check.GradcheckError: ()}.get(kind, ())
    first = check.gradcheck(lambda x: x * 0.0, [tc.ones(1)], raise_exception=False) if "Gradcheck" in str(kind) else "x"
    error = kind(first, *extra)
    error.layer, error.kind = "features.0", "Conv2d(1, 2, 3)"
    for again in (*WAYS.values(), copy.copy):
        twin = again(error)
        assert type(twin) is kind
        assert (str(twin), repr(twin), twin.args) == (str(error), repr(error), error.args)
        assert vars(twin).keys() == vars(error).keys()
        assert twin.layer == "features.0"


def test_copies_work():
    for again in WAYS.values():
        with again(tc.no_grad()):
            assert not (tc.ones(1, requires_grad=True) * 2).requires_grad
        with again(PROFILE := tc.profile()) as p:
            tc.ones(2).relu()
        assert [event.name for event in p.events] == ["Relu"]
        assert not PROFILE.events
        with again(tc.detect_anomaly()), pytest.raises(tc.AnomalyError):
            tc.zeros(1).log()
        with again(tc.device("meta")):
            assert tc.ones(1).device == "meta"
        x = IMAGE.clone()
        assert again(LENET)(x).tolist() == LENET(x).tolist()


def test_a_captured_step_is_copied_without_what_it_has_recorded():
    captured = tc.capture(np.negative)
    captured.graph = (lambda: None,)  # which nobody could pickle
    for again in WAYS.values():
        assert again(captured)(2) == -2


def in_another_process(pair):
    model, its = pair
    step(model, its, 2)
    return pair


@pytest.mark.slow
def test_through_another_process():
    model = net()
    optimizer = optim.Adam(model.parameters())
    step(model, optimizer)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        twin, its = pool.apply(in_another_process, ((model, optimizer),))
        with pytest.raises(tc.ShapeError) as caught:
            pool.apply(LENET, (tc.ones(1, 3, 28, 28),))
    assert caught.value.layer == "conv1"
    assert step(model, optimizer, 4) == step(twin, its, 2)


@every_way
@pytest.mark.parametrize("kind", ["SGD with momentum", "Adam", "RMSprop"])
def test_the_copy_trains_on_a_gpu_too(kind, again, cuda):
    def train(model, optimizer, n):
        x = tc.arange(12, dtype=tc.float32).reshape(4, 3).to(cuda)
        for _ in range(n):
            optimizer.zero_grad()
            (model(x) ** 2).sum().backward()
            optimizer.step()
        return {name: t.tolist() for name, t in model.state_dict().items()}

    model = net().to(cuda)
    optimizer = OPTIMIZERS[kind](model.parameters())
    train(model, optimizer, 2)
    twin, its = again((model, optimizer))
    assert {p.device for p in twin.parameters()} == {"cuda:0"}
    after = train(twin, its, 2)
    assert train(model, optimizer, 2) == after
