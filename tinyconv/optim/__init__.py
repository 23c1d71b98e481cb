"""Optimisers, learning-rate schedules and gradient clipping, with PyTorch's names, arguments and numbers."""

from tinyconv.errors import OptionError, suggest_names
from tinyconv.optim import lr_scheduler
from tinyconv.optim.adagrad import Adadelta, Adagrad
from tinyconv.optim.adam import Adam, AdamW
from tinyconv.optim.adam_kin import Adamax, NAdam, RAdam
from tinyconv.optim.clip import NonFiniteError, clip_grad_norm_, clip_grad_value_
from tinyconv.optim.muon import Muon
from tinyconv.optim.optimizer import Optimizer, ParameterError
from tinyconv.optim.rmsprop import RMSprop
from tinyconv.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Muon",
    "NAdam",
    "NonFiniteError",
    "Optimizer",
    "OptionError",
    "ParameterError",
    "RAdam",
    "RMSprop",
    "clip_grad_norm_",
    "clip_grad_value_",
    "lr_scheduler",
]

suggest_names(globals())
