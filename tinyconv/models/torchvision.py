"""Models of `torchvision.models` under its names, with its layout of weights: ResNets, VGGs and AlexNet.

    from tinyconv.torchvision import models

    net = models.resnet18(num_classes=10)
    net.load_state_dict(tc.load("resnet18-f37072fd.pth"))  # a torchvision's file, for num_classes=1000

The names of layers are torchvision's (`net.layer1[0].conv1`, `net.fc`, `net.features`), for code that replaces or
freezes one. `tinyconv.models` has its own alexnet, vgg16 and resnet50, which are plain sequences of layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Literal

from tinyconv import nn
from tinyconv.data import transforms
from tinyconv.errors import OptionError, shortened, suggest_names
from tinyconv.saving.hub import load_state_dict_from_url
from tinyconv.tensor.tensor import Tensor

__all__ = [
    "VGG", "AlexNet", "BasicBlock", "Bottleneck", "ResNet", "alexnet", "resnet18", "resnet34", "resnet50", "resnet101",
    "resnet152", "resnext50_32x4d", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn",
    "wide_resnet50_2",
]  # fmt: skip

Norm = Callable[[int], nn.Module]


def conv3x3(channels: int, filters: int, stride: int = 1, groups: int = 1, dilation: int = 1) -> nn.Conv2d:
    """A convolution 3x3 that keeps the size at stride 1, without bias."""
    return nn.Conv2d(channels, filters, 3, stride, dilation, dilation, groups, bias=False)


def conv1x1(channels: int, filters: int, stride: int = 1) -> nn.Conv2d:
    """A convolution 1x1 without bias."""
    return nn.Conv2d(channels, filters, 1, stride, bias=False)


class BasicBlock(nn.Module):
    """relu(shortcut(x) + f(x)): f is two convolutions 3x3 with batch norm. (N, inplanes, H, W) gives planes channels.

    Args:
        inplanes, planes: Channels of the input; of the result.
        stride: That of the first convolution.
        downsample: The shortcut; x itself where it is None.
        groups, base_width, dilation: Taken for the sake of `Bottleneck`; OptionError unless they are 1, 64 and 1.
        norm_layer: Makes the norm after a convolution.
    """

    expansion = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Norm | None = None,
    ) -> None:
        super().__init__()
        if (groups, base_width, dilation) != (1, 64, 1):
            raise OptionError("BasicBlock has no groups, width or dilation; Bottleneck has")
        norm = norm_layer or nn.BatchNorm2d
        self.conv1 = conv3x3(inplanes, planes, stride)
        self.bn1 = norm(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = norm(planes)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + identity)


class Bottleneck(nn.Module):
    """relu(shortcut(x) + f(x)): f is convolutions 1x1, 3x3 and 1x1, to 4 `planes` channels, each with batch norm.

    Args:
        inplanes, planes: Channels of the input; a quarter of those of the result.
        stride: That of the convolution 3x3 (the paper has it in the first one).
        downsample: The shortcut; x itself where it is None.
        groups, base_width: Groups of the convolution 3x3, and its channels in each group for 64 `planes`.
        dilation: That of the convolution 3x3.
        norm_layer: Makes the norm after a convolution.
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Norm | None = None,
    ) -> None:
        super().__init__()
        norm = norm_layer or nn.BatchNorm2d
        width = int(planes * (base_width / 64)) * groups
        self.conv1 = conv1x1(inplanes, width)
        self.bn1 = norm(width)
        self.conv2 = conv3x3(width, width, stride, groups, dilation)
        self.bn2 = norm(width)
        self.conv3 = conv1x1(width, 4 * planes)
        self.bn3 = norm(4 * planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        identity = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + identity)


class ResNet(nn.Module):
    """A residual net for images (N, 3, H, W) of any size, made for 224x224; gives logits (N, num_classes).

    He et al., arXiv:1512.03385; with groups, Xie et al., arXiv:1611.05431. Like `torchvision.models.ResNet`.

    Args:
        block: `BasicBlock` or `Bottleneck`.
        layers: The number of blocks in each of four stages.
        num_classes: Number of classes.
        zero_init_residual: Whether each block begins as its shortcut: the scale of its last norm is 0.
        groups, width_per_group: As `Bottleneck` takes them.
        replace_stride_with_dilation: For the last three stages: whether dilation takes the place of the stride.
        norm_layer: Makes a norm; `nn.BatchNorm2d` unless given.

    Raises OptionError unless `replace_stride_with_dilation` has three values.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        layers: Sequence[int],
        num_classes: int = 1000,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] | None = None,
        norm_layer: Norm | None = None,
    ) -> None:
        super().__init__()
        dilated = [False] * 3 if replace_stride_with_dilation is None else list(replace_stride_with_dilation)
        if len(dilated) != 3:
            raise OptionError(f"replace_stride_with_dilation: expected three values, got {shortened(dilated)}")
        self._norm_layer = norm_layer or nn.BatchNorm2d
        self.inplanes, self.dilation = 64, 1
        self.groups, self.base_width = groups, width_per_group
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = self._norm_layer(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = self._make_layer(block, 64, layers[0])
        self.layer2 = self._make_layer(block, 128, layers[1], 2, dilated[0])
        self.layer3 = self._make_layer(block, 256, layers[2], 2, dilated[1])
        self.layer4 = self._make_layer(block, 512, layers[3], 2, dilated[2])
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        _initialise(self)
        for module in self.modules() if zero_init_residual else ():
            last = getattr(module, "bn3", getattr(module, "bn2", None))
            if isinstance(weight := getattr(last, "weight", None), Tensor):
                nn.init.zeros_(weight)

    def _make_layer(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        planes: int,
        blocks: int,
        stride: int = 1,
        dilate: bool = False,
    ) -> nn.Sequential:
        before, downsample = self.dilation, None
        if dilate:
            self.dilation, stride = self.dilation * stride, 1
        filters = planes * block.expansion
        if stride != 1 or self.inplanes != filters:
            downsample = nn.Sequential(conv1x1(self.inplanes, filters, stride), self._norm_layer(filters))
        same = self.groups, self.base_width
        made = [block(self.inplanes, planes, stride, downsample, *same, before, self._norm_layer)]
        self.inplanes = filters
        made += [block(filters, planes, 1, None, *same, self.dilation, self._norm_layer) for _ in range(1, blocks)]
        return nn.Sequential(*made)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


class VGG(nn.Module):
    """Convolutions 3x3 and three linear layers, for images (N, 3, H, W) made for 224x224; gives (N, num_classes).

    Simonyan & Zisserman, arXiv:1409.1556. Like `torchvision.models.VGG`.

    Args:
        features: The layers up to 512 channels.
        num_classes: Number of classes.
        init_weights: Whether weights are drawn as in torchvision; else each layer has its own.
        dropout: Its probability in the classifier.
    """

    def __init__(
        self, features: nn.Module, num_classes: int = 1000, init_weights: bool = True, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096), nn.ReLU(True), nn.Dropout(dropout),
            nn.Linear(4096, 4096), nn.ReLU(True), nn.Dropout(dropout), nn.Linear(4096, num_classes),
        )  # fmt: skip
        if init_weights:
            _initialise(self)
            for module in self.classifier:
                if isinstance(module, nn.Linear) and module.bias is not None:
                    nn.init.normal_(module.weight, 0, 0.01)
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


class AlexNet(nn.Module):
    """Five convolutions and three linear layers, for images (N, 3, H, W) made for 224x224; gives (N, num_classes).

    Krizhevsky, arXiv:1404.5997. Like `torchvision.models.AlexNet`.

    Args:
        num_classes: Number of classes.
        dropout: Its probability in the classifier.
    """

    def __init__(self, num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(True), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(True), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(True),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(True),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(True), nn.MaxPool2d(3, 2),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(256 * 6 * 6, 4096), nn.ReLU(True),
            nn.Dropout(dropout), nn.Linear(4096, 4096), nn.ReLU(True), nn.Linear(4096, num_classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def _initialise(net: nn.Module) -> None:
    """He's numbers of outputs for convolutions, whose biases are 0; norms begin as the identity, as they are made."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


Build = Callable[..., Any]
_PLANS: dict[int, tuple[int, ...]] = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


def _features(depth: Literal[11, 13, 16, 19], batch_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for filters, count in zip((64, 128, 256, 512, 512), _PLANS[depth], strict=True):
        for _ in range(count):
            norm = [nn.BatchNorm2d(filters)] if batch_norm else []
            layers += [nn.Conv2d(channels, filters, 3, padding=1), *norm, nn.ReLU(True)]
            channels = filters
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


class Weights(Enum):
    """The base of `ResNet18_Weights` and its like: a member stands for a file of weights, which is its value."""

    @property
    def url(self) -> str:
        """Where torchvision has the file."""
        return f"https://download.pytorch.org/models/{self.value}"

    def transforms(self) -> transforms.Compose:
        """What makes the input of a picture: its middle in 224x224, as a Tensor, normalised."""
        size = 232 if self.name == "IMAGENET1K_V2" else 256
        middle = transforms.Resize(size), transforms.CenterCrop(224)
        return transforms.Compose(
            [*middle, transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
        )


# A name, what torchvision calls its weights, and the end of each file's name: the first and the second version.
_FILES = {
    "alexnet": ("AlexNet", "alexnet-owt-7be5be79"),
    "resnet18": ("ResNet18", "resnet18-f37072fd"),
    "resnet34": ("ResNet34", "resnet34-b627a593"),
    "resnet50": ("ResNet50", "resnet50-0676ba61", "resnet50-11ad3fa6"),
    "resnet101": ("ResNet101", "resnet101-63fe2227", "resnet101-cd907fc2"),
    "resnet152": ("ResNet152", "resnet152-394f9c45", "resnet152-f82ba261"),
    "resnext50_32x4d": ("ResNeXt50_32X4D", "resnext50_32x4d-7cdf4587", "resnext50_32x4d-1a0047aa"),
    "vgg11": ("VGG11", "vgg11-8a719046"),
    "vgg11_bn": ("VGG11_BN", "vgg11_bn-6002323d"),
    "vgg13": ("VGG13", "vgg13-19584684"),
    "vgg13_bn": ("VGG13_BN", "vgg13_bn-abd245e5"),
    "vgg16": ("VGG16", "vgg16-397923af"),
    "vgg16_bn": ("VGG16_BN", "vgg16_bn-6c64b313"),
    "vgg19": ("VGG19", "vgg19-dcbb9e9d"),
    "vgg19_bn": ("VGG19_BN", "vgg19_bn-c79401a0"),
    "wide_resnet50_2": ("Wide_ResNet50_2", "wide_resnet50_2-95faca4d", "wide_resnet50_2-9ba9bcbe"),
}


def _weights_of(name: str) -> Any:
    title, *files = _FILES[name]
    members = {f"IMAGENET1K_V{i}": f"{file}.pth" for i, file in enumerate(files, 1)}
    kind: Any = Weights  # type checkers take the call for one that looks a member up
    return kind(f"{title}_Weights", {**members, "DEFAULT": f"{files[-1]}.pth"}, module=__name__)


def _function(name: str, build: Build) -> Build:
    """The function that makes a net by this name; its weights are a name of this module, too."""
    known = globals()[f"{_FILES[name][0]}_Weights"] = _weights_of(name)

    def make(*, weights: Any = None, progress: bool = True, pretrained: bool = False, **options: Any) -> Any:
        wanted = "IMAGENET1K_V1" if weights is None and pretrained else weights
        if wanted is None:
            return build(**options)
        if not isinstance(wanted, known) and wanted not in known.__members__:
            names = ", ".join(repr(name) for name in known.__members__)
            raise OptionError(f"{name}: weights is None, {names}, or a member of {known.__name__}, got {wanted!r}")
        net = build(**options)
        net.load_state_dict(load_state_dict_from_url(known[getattr(wanted, "name", wanted)].url))
        return net

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"""The net `{name}`, like `torchvision.models.{name}`.

    Args:
        weights: Those of torchvision, by the name of a member of `{known.__name__}`: the file is read from the folder
            where PyTorch keeps it (`tinyconv.hub`), and never downloaded. None: they are drawn anew.
        progress: Taken, and of no effect.
        pretrained: Whether to take the first weights.
        options: Those of its class, `num_classes` among them.

    Raises FileNotFoundError, which says where the file belongs, where it is not there; OptionError for other weights.
    """
    return make


def _resnet(block: type[BasicBlock] | type[Bottleneck], *layers: int, **given: int) -> Build:
    return lambda **options: ResNet(block, layers, **{**given, **options})


def _vgg(depth: Literal[11, 13, 16, 19], batch_norm: bool = False) -> Build:
    return lambda **options: VGG(_features(depth, batch_norm), **options)


alexnet = _function("alexnet", AlexNet)
resnet18 = _function("resnet18", _resnet(BasicBlock, 2, 2, 2, 2))
resnet34 = _function("resnet34", _resnet(BasicBlock, 3, 4, 6, 3))
resnet50 = _function("resnet50", _resnet(Bottleneck, 3, 4, 6, 3))
resnet101 = _function("resnet101", _resnet(Bottleneck, 3, 4, 23, 3))
resnet152 = _function("resnet152", _resnet(Bottleneck, 3, 8, 36, 3))
resnext50_32x4d = _function("resnext50_32x4d", _resnet(Bottleneck, 3, 4, 6, 3, groups=32, width_per_group=4))
wide_resnet50_2 = _function("wide_resnet50_2", _resnet(Bottleneck, 3, 4, 6, 3, width_per_group=128))
vgg11, vgg11_bn = _function("vgg11", _vgg(11)), _function("vgg11_bn", _vgg(11, True))
vgg13, vgg13_bn = _function("vgg13", _vgg(13)), _function("vgg13_bn", _vgg(13, True))
vgg16, vgg16_bn = _function("vgg16", _vgg(16)), _function("vgg16_bn", _vgg(16, True))
vgg19, vgg19_bn = _function("vgg19", _vgg(19)), _function("vgg19_bn", _vgg(19, True))

__path__: list[str] = []  # a package: `models.resnet` is this module, see `tinyconv.torch_names`
suggest_names(globals())
