"""Threads: what an error, a Ctrl-C, a limit on threads, or another thread that walks back leaves as it was."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import numpy as np
import pytest
from campaigns.interrupt import Points, Scene, prepared
from campaigns.races import side_by_side
from messages import message

import tinyconv as tc
from tinyconv import nn
from tinyconv.engine import nodes
from tinyconv.host import threads
from tinyconv.tensor import creation


@pytest.fixture(autouse=True)
def two_threads():
    before = threads._chosen, threads.get_num_threads()
    tc.set_num_threads(2)
    yield
    tc.set_num_threads(before[1])
    threads._chosen = before[0]


# --- errors ---------------------------------------------------------------------------------------------------------


class Failing(nn.Module):
    """Fails in forward, in backward or in a hook of its own, after it has made something large."""

    def __init__(self, where, error=ValueError):
        super().__init__()
        self.linear, self.where, self.error = nn.Linear(10, 1000), where, error

    def forward(self, x):
        out = self.linear(x).tanh()
        if self.where == "forward":
            raise self.error("as asked")
        if self.where == "backward":
            return tc.apply(FailsBack, out, error=self.error)
        if self.where == "hook":
            out.register_hook(self.fail)
        return out if self.where != "shape" else out.sum()

    def fail(self, grad):
        raise self.error("as asked")


class FailsBack:
    """The identity, whose backward fails."""

    name = "fails_back"

    @staticmethod
    def forward(xp, x, *, error):
        return x * 1, ()

    @staticmethod
    def backward(xp, saved, dy, needs, *, error):
        raise error("as asked")


def failing_step(where, error, wrapped):
    model = Failing(where, error)
    run = nn.DataParallel(model, threads=2, tile=2) if wrapped else model
    x = tc.ones(8, 10)

    def step():
        with suppress(error, tc.ShapeError):  # ShapeError: the module's output has no batch
            run(x).sum().backward()

    return step


@contextmanager
def by_counting_alone():
    gc.collect()
    gc.disable()
    try:
        yield
        assert gc.collect() == 0, "what is left only the collector finds"
    finally:
        gc.enable()


@pytest.mark.slow
@pytest.mark.parametrize("wrapped", [True, False], ids=["DataParallel", "plain"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["forward", "backward", "hook", "shape"])
def test_an_error_leaves_nothing_behind(where, error, wrapped):
    step = failing_step(where, error, wrapped)
    step()
    with by_counting_alone():
        for _ in range(5):
            step()


def test_an_error_that_is_kept_keeps_the_frames_alone():
    """Not the results of the other parts; and when it is dropped, all goes."""
    done = []

    class Result:
        def __init__(self, i):
            done.append(i)

        def __del__(self):
            done.append("freed")

    def part(i):
        if i == 1:
            raise ValueError("as asked")
        return Result(i)

    with by_counting_alone():
        kept = None
        try:
            threads.parallel(part, 2, 2)
        except ValueError as error:
            kept = error
        assert done in ([], [0, "freed"])
        assert kept.__traceback__ is not None
        del kept


def test_the_error_of_the_smallest_number_is_raised():
    def part(i):
        time.sleep(0.01 if i == 0 else 0)
        raise ValueError(i)

    for _ in range(20):
        assert message(ValueError, threads.parallel, part, 8, 2) == "0"


def test_what_ends_a_thread_comes_from_a_helper_too():
    meeting = threading.Barrier(2, timeout=10)

    def part(i):
        meeting.wait()
        if threading.current_thread() is not threading.main_thread():
            raise SystemExit("of a helper")
        return i

    with pytest.raises(SystemExit, match="of a helper"):
        threads.parallel(part, 2, 2)
    assert threads.parallel(lambda i: i, 3, 2) == [0, 1, 2]


# --- Ctrl-C ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scene():
    return Scene()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "stride"), [("loop", 1), ("step", 97), ("native", 97), ("blocks", 31), ("look", 211)])
def test_an_interrupt_anywhere_leaves_all_as_it_was(scene, kind, stride):
    """At every point of a loop at which Python looks for signals, and at many of the others."""
    points = Points()
    prepared(scene, kind)
    points.run(getattr(scene, kind))
    came = 0
    for at in range(1, points.passed + 1, stride):
        settings = prepared(scene, kind)
        came += points.run(getattr(scene, kind), at)
        assert not scene.fault(kind, settings), points.where
    assert came


@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize(
    "make",
    [lambda ps: tc.optim.SGD(ps, lr=0.1, momentum=0.9), lambda ps: tc.optim.Adam(ps, lr=0.1)],
    ids=["SGD", "Adam"],
)
def test_an_interrupt_anywhere_in_a_step_makes_it_or_loses_it(make, before):
    """The small parameters, which are joined, are all as before or all as after it; the next step goes on."""

    def begin():
        tc.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))
        x, optimizer = tc.randn(6, 4), make(model.parameters())

        def gradients():
            optimizer.zero_grad()
            (model(x) ** 2).sum().backward()

        for _ in range(before):
            gradients()
            optimizer.step()
        gradients()
        return model, optimizer, gradients

    def values(model):
        return [p.array.copy() for p in model.parameters()]

    points = Points()
    model, optimizer, _ = begin()
    old = values(model)
    points.run(optimizer.step)
    new = values(model)
    for at in range(1, points.passed + 1, 1 if before else 3):
        model, optimizer, gradients = begin()
        with np.errstate():  # an interrupt between the last line of a block and its end skips what that would put back
            points.run(optimizer.step, at)
        found = values(model)
        assert any(all(map(np.array_equal, found, known)) for known in (old, new)), points.where
        assert len({state.get("step") for state in optimizer.state.values()}) <= 1, points.where
        gradients()
        optimizer.step()
        assert all(np.isfinite(array).all() for array in values(model))


def test_a_ctrl_c_waits_for_the_parts_under_way_and_a_third_does_not():
    """Nobody writes any more into what the caller has given up; but a part that never ends can be left."""
    begun, over, after = threading.Event(), threading.Event(), []

    def part(i):
        if threading.current_thread() is threading.main_thread():
            begun.wait(10)
            raise KeyboardInterrupt
        begun.set()
        over.wait(0.2 if after == ["short"] else 10)
        after.append("done")

    after.append("short")
    with pytest.raises(KeyboardInterrupt):
        threads.parallel(part, 2, 2)
    assert after == ["short", "done"]

    begun.clear()
    after.clear()
    for delay in (0.3, 0.6):
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT)).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        threads.parallel(part, 2, 2)
    assert time.monotonic() - start < 5
    assert not after
    over.set()
    assert not threads._blas_threads.inside
    assert threads.parallel(lambda i: i, 3, 2) == [0, 1, 2]


def test_a_setting_that_is_entered_by_two_threads_is_each_ones_own():
    no_grad, inside = tc.no_grad(), threading.Event()

    def other():
        with no_grad:
            inside.set()
            time.sleep(0.05)
        return tc.is_grad_enabled()

    with ThreadPoolExecutor() as pool, no_grad:
        waiting = pool.submit(other)
        inside.wait(10)
        with tc.enable_grad():
            assert tc.is_grad_enabled()
        assert not tc.is_grad_enabled()
        assert waiting.result()
    assert tc.is_grad_enabled()


# --- threads that cannot be started ---------------------------------------------------------------------------------


def test_it_does_without_threads_that_cannot_be_started(monkeypatch):
    def start(self):
        raise RuntimeError("can't start new thread")

    team = threads._Team()
    monkeypatch.setattr(threads, "_team", team)
    with monkeypatch.context() as limited:
        limited.setattr(threading.Thread, "start", start)
        assert threads.parallel(lambda i: i * i, 20, 4) == [i * i for i in range(20)]
        assert not team.members
    assert threads.parallel(lambda i: i * i, 20, 3) == [i * i for i in range(20)]
    assert len(team.members) == 2


NO_ROOM = """
import threading
import numpy as np
import tinyconv as tc
from tinyconv.host import threads
try:
    threading.Thread(target=print).start()
except RuntimeError:
    tc.manual_seed(0)
    x = tc.randn(64, 1, 28, 28)
    model = tc.models.LeNet5()
    tc.set_num_threads(1)
    found = []
    for n in (1, 4):
        tc.set_num_threads(n)
        with tc.using("{variant}"):
            run = tc.nn.DataParallel(model, tile=16) if n == 4 and "{variant}" == "tiled" else model
            found.append(run(x).array)
    assert np.allclose(*found, atol=1e-5), np.abs(found[0] - found[1]).max()
    print("same, with", len(threads._team.members))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's rule for the size of a thread's stack")
@pytest.mark.parametrize("variant", ["tiled", "native"])
def test_a_process_that_gets_no_thread_gets_the_same_numbers(variant):
    """A stack of 2**50 bytes has room nowhere, so pthread_create fails for Python's threads and for conv.c's."""
    import resource

    def limit():
        resource.setrlimit(resource.RLIMIT_STACK, (1 << 50, resource.getrlimit(resource.RLIMIT_STACK)[1]))

    run = subprocess.run(
        [sys.executable, "-c", NO_ROOM.replace("{variant}", variant)],
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    if not run.stdout:
        pytest.skip("this system starts such a thread")
    assert run.stdout.strip() == "same, with 0"


@pytest.mark.parametrize("used", [True, False], ids=["with threads", "without"])
def test_a_loop_runs_while_the_interpreter_ends(used):
    """At exit, and later, when no thread can start and those that are there can no longer run."""
    code = """
import atexit
from tinyconv.host import threads
class Last:
    def __del__(self, parallel=threads.parallel):
        print("later", parallel(lambda i: i, 4, 3))
last = Last()
last.me = last  # in a cycle, so that it goes with the modules
atexit.register(lambda: print("at exit", threads.parallel(lambda i: i, 4, 3)))
"""
    code += "threads.parallel(lambda i: i, 4, 3)\n" * used
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.splitlines() == ["at exit [0, 1, 2, 3]", "later [0, 1, 2, 3]"], run.stderr


# --- several threads ------------------------------------------------------------------------------------------------


@pytest.fixture
def often():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("often")
def test_every_gradient_of_every_thread_is_added():
    """Into an array that is large enough for NumPy to let other threads run while it adds."""
    weight = tc.zeros(200_000, requires_grad=True)
    seen = weight.exp()  # an op in common, that is retained
    for _ in range(5):
        weight.grad = None

        def walk(i):
            for _ in range(10):
                (weight * 1.0 + seen * 0.0).sum().backward(retain_graph=True)

        side_by_side(walk, 4)
        np.testing.assert_array_equal(weight.grad.array, np.full(200_000, 40, np.float32))


class Stopping:
    """A lock that lets another thread run as it is taken, which makes a race that is there happen."""

    def __init__(self):
        self.lock = threading.RLock()

    def __enter__(self):
        time.sleep(1e-4)
        self.lock.acquire()

    def __exit__(self, *error):
        self.lock.release()


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("roots", [1, 2])
def test_of_two_threads_in_one_graph_one_gets_no_further(monkeypatch, roots):
    """Its error is that of a graph that was walked, and nothing has got two gradients."""
    monkeypatch.setattr(nodes, "one_at_a_time", Stopping())
    for _ in range(20):
        x = tc.ones(1000, requires_grad=True)
        trunk = (x * 2.0).exp().tanh()
        losses = [(trunk * float(i + 1)).sum() for i in range(roots)]
        results = side_by_side(lambda i, losses=losses: losses[i % roots].backward(), 2)
        assert sorted(map(type, results), key=str) == [type(None), tc.GraphError]
        x2 = tc.ones(1000, requires_grad=True)
        winner = 0 if roots == 1 else results.index(None)
        ((x2 * 2.0).exp().tanh() * float(winner + 1)).sum().backward()
        np.testing.assert_array_equal(x.grad.array, x2.grad.array)


def test_the_lock_of_gradients_is_free_in_a_forked_child():
    """Also where another thread held it as the process was forked."""
    if not hasattr(os, "fork"):
        pytest.skip("no fork here")
    code = """
import os, threading, time, warnings
warnings.simplefilter("ignore")
import tinyconv as tc
from tinyconv.engine import nodes
def hold():
    with nodes.one_at_a_time:
        time.sleep(0.3)
threading.Thread(target=hold).start()
time.sleep(0.1)
pid = os.fork()
x = tc.ones(3, requires_grad=True)
x.sum().backward()
if pid == 0:
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "7"


@pytest.mark.usefixtures("often")
def test_what_is_made_at_first_use_is_made_once():
    for _ in range(20):
        made = []

        @threads.Once
        def slow(made=made):
            time.sleep(1e-3)
            made.append(1)
            return object()

        assert len({id(found) for found in side_by_side(lambda i, slow=slow: slow(), 4)}) == 1
        assert made == [1]


def test_blas_hears_every_thread():
    """A thread that is not the first to say how many threads BLAS uses; and it has as many as before afterwards."""
    pytest.importorskip("threadpoolctl", reason="without it BLAS's threads cannot be told")

    def numbers():
        return {library.get_num_threads() for library in threads._blas()}

    tc.set_num_threads(2)
    expected = [numbers(), {1}, {2}, {3}]
    with ThreadPoolExecutor(1) as pool:
        found = [numbers(), pool.submit(threads.blas_alone, numbers).result(), numbers()]
        pool.submit(tc.set_num_threads, 3).result()
    assert [*found, numbers()] == expected


def test_random_numbers_of_several_threads_come_from_one_generator(monkeypatch):
    monkeypatch.setattr(creation, "_of_the_process", threads.Once(creation._of_the_process.function))
    side_by_side(lambda i: tc.manual_seed(3), 4)
    drawn = sorted(t.item() for t in side_by_side(lambda i: tc.rand(1), 4))
    tc.manual_seed(3)
    assert drawn == sorted(tc.rand(1).item() for _ in range(4))


@pytest.mark.usefixtures("often")
def test_a_pool_of_threads_infers_what_one_thread_does():
    tc.manual_seed(0)
    model = tc.models.LeNet5().eval()
    batches = [tc.randn(8, 1, 28, 28) for _ in range(6)]
    with tc.no_grad():
        expected = [model(x).array for x in batches]
    with ThreadPoolExecutor(3) as pool:
        for ours, theirs in zip(pool.map(model, batches), expected, strict=True):
            np.testing.assert_array_equal(ours.array, theirs)
