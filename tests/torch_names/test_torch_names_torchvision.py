"""torchvision's models from its own source, with the weights of torchvision's: logits and gradients are equal."""

from importlib import import_module

import numpy as np
import pytest
import torch
from messages import message
from torch_names.torch_public import public
from torch_names.torchvision_models import loader
from vision_oracle import torchvision

import tinyconv as tc

# A model: its file, how it is made, the size of its images, and whether it takes long. Where a batch norm would be of
# two numbers a channel, rounding grows layer by layer, so images are larger there.
MODELS = [
    ("alexnet", "alexnet(num_classes=10)", 63, True),
    ("vgg", "with_one_layer(vgg11())", 32, True),
    ("vgg", "with_one_layer(vgg11_bn())", 32, True),
    ("resnet", "resnet18(num_classes=10)", 33, False),
    ("resnet", "ResNet(Bottleneck, [1, 1, 1, 1], num_classes=10, groups=2, width_per_group=32)", 33, False),
    ("squeezenet", "squeezenet1_1(num_classes=10)", 40, False),
    ("mobilenetv2", "mobilenet_v2(num_classes=10, width_mult=0.5)", 32, False),
    ("mobilenetv3", "mobilenet_v3_small(num_classes=10)", 64, True),
    ("densenet", "DenseNet(8, (2, 2, 2, 2), 16, num_classes=10)", 32, False),
    ("densenet", "densenet121(num_classes=10)", 64, True),
    ("googlenet", "GoogLeNet(num_classes=10, aux_logits=False, init_weights=False)", 40, True),
    ("shufflenetv2", "shufflenet_v2_x0_5(num_classes=10)", 32, False),
    ("mnasnet", "mnasnet0_5(num_classes=10)", 32, True),
]  # fmt: skip


def result(model, library, images):
    """The logits, the gradient of each parameter, and the state after the step, of one training step in float64."""
    for layer in model.modules():
        if isinstance(layer, library.nn.Dropout):
            layer.p = 0.0  # the two libraries draw other numbers
    x = library.tensor(images, requires_grad=True)
    logits = model(x)
    (logits.softmax(1)[:, 0].log().mean() + (logits * logits).mean()).backward()
    arrays = {"logits": logits.detach().numpy(), "images": x.grad.numpy()}
    arrays |= {f"d{name}": p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    return arrays | {name: value.detach().numpy() for name, value in model.state_dict().items()}


def differing(ours, theirs):
    """The names of arrays that differ by more than rounding."""
    assert ours.keys() == theirs.keys()
    return [
        name
        for name, value in theirs.items()
        if not np.allclose(ours[name], value, rtol=1e-7, atol=1e-9 * max(1, np.abs(value).max(initial=0)))
    ]


def test_every_transform_is_here_or_answered():
    theirs, ours = torchvision.transforms, tc.torchvision.transforms
    for name in [name for name in public(theirs) if not hasattr(ours, name)]:
        assert ", a transform of pictures: " in message(AttributeError, getattr, ours, name)
    assert message(AttributeError, getattr, ours, "ToTensr").endswith("; did you mean 'ToTensor'?")


def with_one_layer(net):
    """A VGG with one linear layer at its end, where it has three with a hundred million weights."""
    net.classifier = type(net.classifier[0])(512 * 7 * 7, 10)
    return net


HELP = {"with_one_layer": with_one_layer}


def both(file, made, size, source=True):
    """What the model, of torchvision's source or of ours, gives here and in torchvision, from the same weights."""
    images = np.random.default_rng(0).standard_normal((2, 3, size, size))
    torch.manual_seed(0)
    theirs = eval(made, {**vars(import_module(f"torchvision.models.{file}")), **HELP}).double().train()
    state = {name: tc.tensor(value.numpy().copy()) for name, value in theirs.state_dict().items()}
    expected = result(theirs, torch, images)  # here: nothing of torch can run within the block
    with loader() as load:
        names = vars(load(file) if source else tc.torchvision.models)
        ours = eval(made, {**names, **HELP}).double().train()
        ours.load_state_dict(state)
        return ours, result(ours, tc, images), expected


def case(file, made, size, long):
    return pytest.param(file, made, size, id=made, marks=[pytest.mark.slow] * long)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(("file", "made", "size"), [case(*row) for row in MODELS])
def test_a_model_of_torchvision_is_the_same_here(file, made, size):
    ours, found, expected = both(file, made, size)
    assert isinstance(ours, tc.nn.Module)
    assert differing(found, expected) == []


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_model_that_differs_is_seen():
    _, found, expected = both("squeezenet", "squeezenet1_1(num_classes=10)", 40)
    found["logits"] = found["logits"] + 1e-6
    assert differing(found, expected) == ["logits"]


# The models that are here under torchvision's names.
HERE = [
    ("resnet", "resnet18(num_classes=10)", 33, False),
    (
        "resnet",
        "ResNet(Bottleneck, [1, 1, 2, 1], 10, groups=2, width_per_group=32, replace_stride_with_dilation=[0, 1, 1])",
        33,
        False,
    ),
    ("vgg", "with_one_layer(vgg11_bn())", 32, True),
    ("alexnet", "alexnet(num_classes=10)", 63, True),
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("file", "made", "size"), [case(*row) for row in HERE])
def test_our_model_of_that_name_is_the_same(file, made, size):
    _, found, expected = both(file, made, size, source=False)
    assert differing(found, expected) == []


@pytest.mark.parametrize("name", [name for name in tc.torchvision.models.__all__ if name.islower()])
def test_our_model_of_that_name_has_its_layout(name):
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name)().state_dict()
    with tc.device("meta"):
        ours = getattr(tc.torchvision.models, name)().state_dict()
    assert {key: tuple(value.shape) for key, value in ours.items()} == {k: tuple(v.shape) for k, v in theirs.items()}


def test_the_last_norm_of_a_block_may_begin_at_zero():
    net = tc.torchvision.models.resnet18(zero_init_residual=True, num_classes=2)
    x = tc.rand(1, 64, 4, 4)
    assert np.array_equal(net.layer1[0](x).numpy(), x.numpy())


def test_weights_are_read_from_the_folder_of_pytorch(tmp_path, monkeypatch):
    models = tc.torchvision.models
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18()
    torch.save(theirs.state_dict(), folder / "resnet18-f37072fd.pth")
    given = [{"weights": "DEFAULT"}, {"weights": models.ResNet18_Weights.IMAGENET1K_V1}, {"pretrained": True}]
    for options in given:
        net = models.resnet18(**options)
        assert np.array_equal(net.fc.weight.detach().numpy(), theirs.fc.weight.detach().numpy())
    assert message(FileNotFoundError, models.resnet50, weights="DEFAULT") == (
        "nothing is downloaded here: fetch https://download.pytorch.org/models/resnet50-11ad3fa6.pth yourself and put "
        f"it there as {folder / 'resnet50-11ad3fa6.pth'}"
    )
    said = message(tc.OptionError, models.vgg16, weights="IMAGENET1K_V2")
    assert said.startswith("vgg16: weights is None, 'IMAGENET1K_V1', 'DEFAULT', or a member of VGG16_Weights, got")


@pytest.mark.parametrize("name", [name for name in tc.torchvision.models.__all__ if name.islower()])
def test_weights_have_the_names_of_torchvision(name):
    ours, theirs = tc.torchvision.models, torchvision.models
    (title,) = [one for one in dir(theirs) if one.lower() == f"{name}_weights"]
    found = {key: member.url for key, member in getattr(ours, title).__members__.items()}
    expected = {key: one.url for key, one in getattr(theirs, title).__members__.items() if "SWAG" not in key}
    assert {key: url for key, url in expected.items() if "FEATURES" not in key} == found


def test_weights_bring_what_makes_their_input():
    from PIL import Image

    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 280, 3), dtype=np.uint8))
    for version in ("IMAGENET1K_V1", "IMAGENET1K_V2"):
        ours, theirs = (
            models.ResNet50_Weights[version].transforms()(picture)
            for models in (tc.torchvision.models, torchvision.models)
        )
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)


def test_mistakes_of_models():
    models = tc.torchvision.models
    assert "a model of torchvision's: " in message(AttributeError, getattr, models, "densenet121")
    assert "three values" in message(tc.OptionError, models.resnet50, replace_stride_with_dilation=[True])
    assert "Bottleneck has" in message(tc.OptionError, models.ResNet, models.BasicBlock, [1] * 4, groups=2)
