"""LeNet-5, as it is taught today and as it was in 1998."""

from __future__ import annotations

from math import sqrt

from tinyconv import functional as F
from tinyconv import nn
from tinyconv.errors import ShapeError
from tinyconv.shapes import conv_output_size
from tinyconv.tensor.creation import rand, tensor, zeros, zeros_like
from tinyconv.tensor.joins import cat
from tinyconv.tensor.tensor import Tensor


class LeNet5(nn.Module):
    """LeNet-5 with ReLU and max-pooling: images (N, in_channels, size, size) give logits (N, num_classes).

    conv 6 @ 5x5, ReLU, pool 2; conv 16 @ 5x5, ReLU, pool 2; fully connected 120, 84, `num_classes`. It has 44,426
    parameters for 1x28x28, 61,706 for 1x32x32 (or 1x28x28 with padding 2), 62,006 for 3x32x32. They are called as in
    the usual PyTorch version. After LeCun et al., 1998, see `LeNet5Of1998`.

        model = tc.models.lenet5(padding=2)
        model(tc.zeros(8, 1, 28, 28)).shape  # (8, 10)

    Args:
        in_channels: Channels of the images.
        size: Height and width of the images.
        padding: Rows and columns of zeros around the images, in the first convolution.
        num_classes: Number of classes.

    Raises ShapeError where the images are smaller than 16x16 (12x12 with padding 2). A call with images of another size
    or number of channels raises ShapeError, which names the layer that they do not fit.
    """

    def __init__(self, in_channels: int = 1, size: int = 28, padding: int = 0, num_classes: int = 10) -> None:
        super().__init__()
        side = (conv_output_size(conv_output_size(size, 5, padding=padding) // 2, 5)) // 2
        if side < 1:
            raise ShapeError(
                f"LeNet5: images of {size}x{size} shrink to nothing; 16 is the smallest (12 with padding=2)"
            )
        self.conv1 = nn.Conv2d(in_channels, 6, 5, padding=padding)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * side * side, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)
        self.relu, self.pool = nn.ReLU(), nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.conv1(x)))  # (N, 1, 28, 28) -> (N, 6, 12, 12)
        x = self.pool(self.relu(self.conv2(x)))  # -> (N, 16, 4, 4)
        x = x.flatten(1)  # -> (N, 256)
        x = self.relu(self.fc1(x))  # -> (N, 120)
        x = self.relu(self.fc2(x))  # -> (N, 84)
        return self.fc3(x)  # -> (N, 10)


# The maps of S2, of six, that each of the sixteen maps of C3 sees (LeCun et al., 1998, table I, by columns): six see
# three neighbours, six see four, three see two pairs with a gap between them, and the last sees all.
C3_INPUTS = (
    *(tuple((first + i) % 6 for i in range(3)) for first in range(6)),
    *(tuple((first + i) % 6 for i in range(4)) for first in range(6)),
    *(tuple((first + i) % 6 for i in (0, 1, 3, 4)) for first in range(3)),
    tuple(range(6)),
)


class Subsample(nn.Module):
    """The trainable average pooling of 1998: the sum of each 2x2 window times the map's weight, plus its bias.

    (N, C, H, W) -> (N, C, H / 2, W / 2); weight and bias are (C,).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(zeros(channels))
        self.bias = nn.Parameter(zeros(channels))
        nn.init.constant_(self.weight, 0.25)  # the plain average

    def forward(self, x: Tensor) -> Tensor:
        sums = F.avg_pool2d(x, 2, divisor_override=1)
        return sums * self.weight.reshape(-1, 1, 1) + self.bias.reshape(-1, 1, 1)


class SparseConv2d(nn.Module):
    """A convolution in which filter f sees only the channels `inputs[f]`: (N, C, H, W) -> (N, len(inputs), OH, OW).

    `weight` (connections, KH, KW) holds one kernel for each connection. For the product a lookup puts them in their
    places among zeros, (F, C, KH, KW); the gradient of the lookup takes theirs out again.
    """

    places: Tensor

    def __init__(self, inputs: tuple[tuple[int, ...], ...], kernel_size: int) -> None:
        super().__init__()
        connections = [(f, channel) for f, seen in enumerate(inputs) for channel in seen]
        none = len(connections)  # the index of the kernel of zeros
        places = [[none] * (1 + max(map(max, inputs))) for _ in inputs]
        for number, (f, channel) in enumerate(connections):
            places[f][channel] = number
        self.register_buffer("places", tensor(places), persistent=False)
        bounds = tensor([1 / sqrt(len(seen) * kernel_size**2) for seen in inputs])  # as nn.Conv2d, for each filter
        kernel_bounds = bounds[tensor([f for f, _ in connections])].reshape(-1, 1, 1)
        self.weight = nn.Parameter((rand(none, kernel_size, kernel_size) * 2 - 1) * kernel_bounds)
        self.bias = nn.Parameter((rand(len(inputs)) * 2 - 1) * bounds)

    def forward(self, x: Tensor) -> Tensor:
        kernels = cat([self.weight, zeros_like(self.weight[:1])])
        return F.conv2d(x, kernels[self.places], self.bias)


def scaled_tanh(x: Tensor) -> Tensor:
    """1.7159 tanh(2 x / 3): its value at +-1 is +-1 (LeCun et al., 1998, appendix A)."""
    return (x * (2 / 3)).tanh() * 1.7159


# One 7x12 picture for each digit, with which the 84 outputs of F6 are compared. The idea and the sizes are those of the
# original; the drawings are ours.
GLYPHS = """
.#####. ...#... .#####. .#####. ....##. ####### .#####. ####### .#####. .#####.
#.....# ..##... #.....# #.....# ...#.#. #...... #.....# ......# #.....# #.....#
#....## .#.#... ......# ......# ..#..#. #...... #...... ......# #.....# #.....#
#...#.# ...#... ......# ......# .#...#. #...... #...... .....#. #.....# #.....#
#...#.# ...#... .....#. ......# #....#. ######. #...... ....#.. #.....# #.....#
#..#..# ...#... ....#.. ..####. #....#. ......# ######. ....#.. .#####. .######
#..#..# ...#... ...#... ......# ####### ......# #.....# ...#... #.....# ......#
#.#...# ...#... ..#.... ......# .....#. ......# #.....# ...#... #.....# ......#
#.#...# ...#... .#..... ......# .....#. ......# #.....# ..#.... #.....# ......#
##....# ...#... #...... ......# .....#. ......# #.....# ..#.... #.....# ......#
#.....# ...#... #...... #.....# .....#. #.....# #.....# ..#.... #.....# #.....#
.#####. .#####. ####### .#####. .....#. .#####. .#####. ..#.... .#####. .#####.
"""


def glyph_codes() -> list[list[float]]:
    """The ten pictures as rows of 84 numbers, +1 for ink and -1 for paper."""
    rows = [line.split() for line in GLYPHS.strip().splitlines()]
    return [[1.0 if cell == "#" else -1.0 for row in rows for cell in row[digit]] for digit in range(10)]


class LeNet5Of1998(nn.Module):
    """LeNet-5 as it was in 1998: images (N, 1, size, size) give logits (N, 10).

    C1 6 @ 5x5, S2, C3 16 @ 5x5 on some of the maps each, S4, C5 120 @ 5x5, F6 84: 60,000 parameters. Each output
    compares F6 with a fixed picture of a digit: the logit is minus the squared distance. LeCun, Bottou, Bengio &
    Haffner, "Gradient-based learning applied to document recognition", 1998.

        tc.models.lenet5_1998()(tc.zeros(8, 1, 28, 28)).shape  # (8, 10)

    Args:
        size: Height and width of the images: 32, or 28 to put a border of zeros around them.

    Raises ShapeError for another size.
    """

    codes: Tensor

    def __init__(self, size: int = 28) -> None:
        super().__init__()
        if size not in (28, 32):
            raise ShapeError(f"LeNet5Of1998: images are 28x28 or 32x32, not {size}x{size}")
        self.c1 = nn.Conv2d(1, 6, 5, padding=(32 - size) // 2)
        self.s2 = Subsample(6)
        self.c3 = SparseConv2d(C3_INPUTS, 5)
        self.s4 = Subsample(16)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, 84)
        self.register_buffer("codes", tensor(glyph_codes()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = scaled_tanh(self.s2(self.c1(x)))  # (N, 1, 32, 32) -> (N, 6, 14, 14)
        x = scaled_tanh(self.s4(self.c3(x)))  # -> (N, 16, 5, 5)
        x = scaled_tanh(self.c5(x)).flatten(1)  # -> (N, 120)
        x = scaled_tanh(self.f6(x))  # -> (N, 84)
        return -((x.unsqueeze(1) - self.codes) ** 2).sum(2)  # -> (N, 10)
