"""What a user writes: a net of their own, an op of their own, a training loop. Checkers must have nothing to say."""

from typing import Any

import tinyconv as tc
import tinyconv.functional as F
from tinyconv import nn


class Net(nn.Module):
    def __init__(self, channels: int = 6) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, channels, 5, padding="same")
        self.head = nn.Linear(channels * 14 * 14, 10)

    def forward(self, x: tc.Tensor) -> tc.Tensor:
        x = F.max_pool2d(F.relu(self.conv(x)), 2)
        return self.head(x.flatten(1))


class Cube:
    """y = x^3;  dx = 3 x^2 dy."""

    @staticmethod
    def forward(xp: Any, x: Any) -> Any:
        return x**3, (x,)

    @staticmethod
    def backward(xp: Any, saved: Any, dy: Any, needs: Any) -> Any:
        return (3 * saved[0] ** 2 * dy,)


@tc.no_grad()
def accuracy(model: Net, images: tc.Tensor, labels: tc.Tensor) -> float:
    return (model(images).argmax(1) == labels).float().mean().item()


def main(steps: int = 2) -> float:
    tc.manual_seed(0)
    model = Net().train()
    optimizer = tc.optim.Adam(model.parameters(), lr=1e-3)
    scheduler = tc.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-3, total_steps=steps)
    images, labels = tc.randn(8, 1, 28, 28), tc.randint(0, 10, (8,))
    loss = tc.tensor(0.0)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels, label_smoothing=0.1) + 1e-4 * tc.sum(input=model.head.weight**2)
        loss.backward()
        optimizer.step()
        scheduler.step()
    shape: tuple[int, ...] = model.conv.weight.shape
    rows: int = images.size(0)
    values, places = images.reshape(rows, -1).requires_grad_().max(dim=1)
    total = tc.sum(input=values, dim=0, keepdim=True) + tc.where(values > 0, values, 0.0).mean(0, keepdim=True)
    (slope,) = tc.grad(tc.apply(Cube, total).sum(), [values], allow_unused=True)
    print(shape, places.tolist(), slope, model.conv.weight.grad, total[0, ...], f"{loss.item():.3f}")
    return accuracy(model.eval(), images, labels) + float(images.std(unbiased=False))


if __name__ == "__main__":
    print(main())
