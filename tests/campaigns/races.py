"""Several threads in one model, one graph, one generator and one first use: every gradient is the sum, to the bit."""

import random
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import chain

import numpy as np

import tinyconv as tc
from campaigns.attempt import Attempt
from tinyconv import nn
from tinyconv.data import DataLoader
from tinyconv.fast.native import build
from tinyconv.host import threads
from tinyconv.tensor import creation

PROMISE = (
    "Backward from several threads adds every gradient; of two threads in one graph one is refused, and nothing is "
    "added twice; what is made at first use is made once; inference, data and random numbers are those of one thread."
)
COUNT = 1000
DOSE = 30
THREADS = 3


def side_by_side(function, n=THREADS):
    """function(0), ..., function(n - 1) on a thread each, begun at once; what each returned, or its error."""
    meeting = threading.Barrier(n, timeout=60)

    def run(i):
        meeting.wait()
        try:
            return function(i)
        except Exception as error:
            return error

    with ThreadPoolExecutor(n) as pool:
        return list(pool.map(run, range(n)))


def errors_in(results):
    return "; ".join(f"{type(e).__name__}: {str(e).splitlines()[0]}" for e in results if isinstance(e, Exception))


def same(ours, theirs):
    return all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def net():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(676, 10))


def whole(model, rng):
    """Parameters, inputs and upstream gradients of small integers: sums are exact, in any order."""
    for p in model.parameters():
        p.data = tc.tensor(rng.integers(-2, 3, p.shape).astype(np.float32))
    return [tc.tensor(rng.integers(-2, 3, (4, 1, 28, 28)).astype(np.float32)) for _ in range(THREADS)]


def sums(rng, wrapped=False):
    """Forward and backward of one model by every thread, some more than once."""
    model = net()
    batches = whole(model, rng)
    run, turns = nn.DataParallel(model, threads=2, tile=2) if wrapped else model, int(rng.integers(1, 4))

    def walk(i):
        for _ in range(turns):
            run(batches[i]).sum().backward()

    for i in range(THREADS):
        walk(i)
    expected = [p.grad.array.copy() for p in model.parameters()]
    model.zero_grad()
    found = side_by_side(walk)
    wrong = errors_in(found)
    return wrong or ("" if same([p.grad.array for p in model.parameters()], expected) else "a gradient is not the sum")


def tiles(rng):
    return sums(rng, wrapped=True)


def graph(rng):
    """Two threads go back through one graph, from one loss or from two that share a trunk."""
    x, roots = tc.tensor(rng.integers(-2, 3, 3000).astype(np.float32)).requires_grad_(), int(rng.integers(1, 3))
    trunk = ((x * 2.0) * (x + 1.0)) * 3.0
    losses = [(trunk * float(i + 1)).sum() for i in range(roots)]
    found = side_by_side(lambda i: losses[i % roots].backward(), 2)
    if not isinstance(found[0], tc.GraphError) and not isinstance(found[1], tc.GraphError):
        return f"both went through: {found}"
    if None not in found:
        return f"neither went through: {errors_in(found)}"
    alone = x.detach().requires_grad_()
    (((alone * 2.0) * (alone + 1.0)) * 3.0 * float(found.index(None) % roots + 1)).sum().backward()
    return "" if same([x.grad.array], [alone.grad.array]) else "the gradient is not that of the thread that got through"


def retained(rng):
    """Every thread goes back through one graph that all retain."""
    x = tc.tensor(rng.integers(-2, 3, 3000).astype(np.float32)).requires_grad_()
    middle = x * 3.0
    middle.retain_grad()
    loss = (middle * middle).sum()
    wrong = errors_in(side_by_side(lambda i: loss.backward(retain_graph=True)))
    expected = [THREADS * 18 * x.array, THREADS * 2 * middle.array]
    return wrong or ("" if same([x.grad.array, middle.grad.array], expected) else "a gradient is not the sum")


def inference(rng):
    """A pool of threads calls one model, in evaluation mode and recording nothing."""
    model = net().eval()
    batches = whole(model, rng)

    def run(i):
        with tc.no_grad():
            return model(batches[i]).array

    expected = [run(i) for i in range(THREADS)]
    found = side_by_side(run)
    return errors_in(found) or ("" if same(found, expected) else "other outputs than those of one thread")


def seeds(rng):
    """The first use of the generator, seeded by all at once; then numbers from it, none twice and none left out."""
    creation._of_the_process.made.clear()
    seed = int(rng.integers(1000))
    side_by_side(lambda i: tc.manual_seed(seed))
    found = side_by_side(lambda i: [tc.rand(1).item() for _ in range(20)])
    tc.manual_seed(seed)
    expected = sorted(tc.rand(1).item() for _ in range(20 * THREADS))
    return "" if sorted(chain.from_iterable(found)) == expected else "other numbers than one thread draws"


def first_use(rng):
    """The first call of compiled pairs, and of BLAS's threads, by all at once."""
    from tinyconv.fast import native

    built, load = [], build.load
    native.found.made.clear()
    threads._blas.made.clear()

    def counted(*args):
        built.append(1)
        return load(*args)

    build.load = counted
    model = net()
    batches = whole(model, rng)

    def run(i):
        with tc.using("native"):
            return model(batches[i]).array

    try:
        found = side_by_side(run)
    finally:
        build.load = load
    wrong = errors_in(found) or ("" if len(built) == 1 else f"the library was loaded {len(built)} times")
    return wrong or ("" if same(found, [run(i) for i in range(THREADS)]) else "other outputs than those of one thread")


def data(rng):
    """One loader, whose epochs different threads go through."""
    images = rng.integers(0, 256, (12, 1, 2, 2), dtype=np.uint8)
    loader = DataLoader((images, np.arange(12)), 3, shuffle=True, seed=int(rng.integers(1000)))
    expected = [np.concatenate([y for _, y in loader.arrays(epoch)]) for epoch in range(THREADS)]
    found = side_by_side(lambda epoch: np.concatenate([y for _, y in loader.arrays(epoch)]))
    return errors_in(found) or ("" if same(found, expected) else "batches of another epoch")


def settings(rng):
    """One object each of `no_grad` and `device`, entered by all at once, some more often than others."""
    shared, meta = tc.no_grad(), tc.device("meta")

    def run(i):
        with tc.enable_grad() if i % 2 else tc.no_grad():
            for _ in range(10 + i):
                with shared, meta:
                    inside = tc.is_grad_enabled(), tc.zeros(1).device
                after = tc.is_grad_enabled(), tc.zeros(1).device
                if inside != (False, "meta") or after != (i % 2 == 1, "cpu"):
                    return inside, after
        return None

    wrong = [found for found in side_by_side(run) if found is not None]
    return f"a setting of another thread: {wrong}" if wrong else ""


def loops(rng):
    """Parallel loops of several threads, which share the helpers, while each has BLAS use one thread."""
    before, size = [library.get_num_threads() for library in threads._blas()], int(rng.integers(2, 30))

    def part(i):
        return i, [library.get_num_threads() for library in threads._blas()]

    expected = [(i, [1] * len(before)) for i in range(size)]
    found = side_by_side(lambda i: [threads.parallel(part, size, 2) == expected for _ in range(5)])
    after = [library.get_num_threads() for library in threads._blas()]
    wrong = errors_in(found) or ("" if found == [[True] * 5] * THREADS else "other results, or threads of BLAS")
    return wrong or ("" if after == before else f"BLAS has {after} threads, and had {before}")


KINDS = {
    "forward and backward of one model": sums,
    "forward and backward under DataParallel": tiles,
    "two threads back through one graph": graph,
    "a retained graph": retained,
    "inference in a pool": inference,
    "random numbers, from the first": seeds,
    "the first use of compiled pairs": first_use,
    "the epochs of one loader": data,
    "one setting entered by all": settings,
    "parallel loops side by side": loops,
}


def attempts(count, seed, folder):
    """The kinds in turn, on threads that take turns as often as Python lets them."""
    before, order = sys.getswitchinterval(), random.Random(seed)
    sys.setswitchinterval(1e-6)
    try:
        for i in range(count):
            kind, race = list(KINDS.items())[i % len(KINDS)]
            rng = np.random.default_rng(order.randrange(2**32))
            failure = race(rng)
            yield Attempt(kind, failure and f"attempt {i}: {failure}")
    finally:
        sys.setswitchinterval(before)
