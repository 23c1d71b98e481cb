"""The most that is taken from a file or a command line: each far beyond what is of use, and far below what would take
the machine's memory, or an hour, before anyone sees that a number was mistyped or a file is not what it claims to be.

Python programs that build their own models and loops are not held to these.
"""

THREADS = 1024
"""Threads: the largest machines have fewer cores, and each thread reserves megabytes for its stack."""
RANKS = 64
"""Ranks that are processes of one machine."""
SIZE = 1 << 20
"""Any one size: pixels a side, channels, features, classes, padding."""
CELLS = 64
"""Rows and columns of a pooling's window, or of an adaptive one's output: pooling takes a step in Python for each."""
LAYERS = 300
"""Slices of a cake, sizes in a list, or blocks of a ResNet. ResNet-152 has 50 blocks."""
TEXT = 100_000
"""Characters of a cake."""
PARAMETERS = 1 << 28
"""Parameters of a model, 1 GiB of float32. VGG-16 has half as many, and Adam keeps three arrays more of that size."""
ACTIVATIONS = 1 << 28
"""Bytes of all outputs for one image: twice those of VGG-16 on 224x224."""
HEADER = 1 << 24
"""Bytes of a safetensors header: the names of 100,000 tensors, or the history of as many epochs."""
EPOCHS = 100_000
"""Epochs of a training."""
SEED = (1 << 64) - 1
"""The largest seed, as in PyTorch."""
