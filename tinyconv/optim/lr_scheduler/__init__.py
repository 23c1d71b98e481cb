"""Learning rates as functions of time.

A schedule sets the rate of each group when it is made and again at each `step()`. Call that after the optimiser's own
`step()`: once an epoch, or once a batch, in which case an "epoch" below is a batch.

    schedule = tc.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    for epoch in range(epochs):
        train(model, optimizer)
        schedule.step()

Schedules have PyTorch's names, arguments and rates, and are chained as there: two that are stepped in turn on one
optimiser multiply, and one goes on from a rate that somebody else wrote into a group. A schedule that nobody else
interferes with is a closed form of the group's `initial_lr` and the number of steps, where PyTorch multiplies its way
from step to step: so rounding does not pile up, and resuming is exact.
"""
# ruff: noqa: F403

from tinyconv.errors import suggest_names
from tinyconv.optim.lr_scheduler.cycles import *
from tinyconv.optim.lr_scheduler.factors import *
from tinyconv.optim.lr_scheduler.functions import *
from tinyconv.optim.lr_scheduler.plateau import *
from tinyconv.optim.lr_scheduler.schedule import *
from tinyconv.optim.lr_scheduler.several import *

_LRScheduler = LRScheduler  # noqa: F405 (PyTorch's old name)

suggest_names(globals())
