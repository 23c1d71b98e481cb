"""Modules: layers, containers, losses and initialisers, with torch's names. Each file lists what it exports."""
# ruff: noqa: F403

from tinyconv import functional as functional
from tinyconv.errors import suggest_names
from tinyconv.nn import init as init
from tinyconv.nn import utils as utils
from tinyconv.nn.activations import *
from tinyconv.nn.containers import *
from tinyconv.nn.convolution import *
from tinyconv.nn.dropouts import *
from tinyconv.nn.embedding import *
from tinyconv.nn.layers import *
from tinyconv.nn.lazy import *
from tinyconv.nn.losses import *
from tinyconv.nn.module import *
from tinyconv.nn.norms import *
from tinyconv.nn.padding import *
from tinyconv.nn.parallel import *
from tinyconv.nn.pooling import *
from tinyconv.nn.stateless import *
from tinyconv.nn.sync import *
from tinyconv.nn.vision import *
from tinyconv.nn.windows import *

suggest_names(globals())
