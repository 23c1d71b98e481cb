"""`cupy.cuda`: two devices without hardware, their memory, streams that work at once, and graphs that are played again.

A stream does its work before the call returns, so no test can see a race here. A stream that captures does no work: it
notes it for `Graph.launch`, and refuses what CUDA refuses then.
"""

import threading
import weakref
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, fields
from types import SimpleNamespace

from standin import nccl  # noqa: F401 - a part of the namespace

DEVICES = 2
MEMORY = 16 << 30  # of each device, in bytes
ERRORS = {  # the codes, names and texts are CUDA's
    2: "cudaErrorMemoryAllocation: out of memory",
    35: "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA runtime version",
    100: "cudaErrorNoDevice: no CUDA-capable device is detected",
    101: "cudaErrorInvalidDevice: invalid device ordinal",
    900: "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing",
    901: "cudaErrorStreamCaptureInvalidated: operation failed due to a previous error during capture",
    905: "cudaErrorStreamCaptureIsolation: dependency created on uncaptured work in another stream",
}


class CUDARuntimeError(RuntimeError):
    """What the CUDA runtime refuses: its code, name and text."""

    def __init__(self, status: int) -> None:
        self.status = status
        super().__init__(ERRORS[status])


# --- what a test may count ------------------------------------------------------------------------------------------


@dataclass(eq=False)  # each is another one, whatever it has counted
class Count:
    """What happened inside `counted`."""

    to_device: int = 0
    to_host: int = 0
    synchronisations: int = 0
    launches: int = 0


_counts: list[Count] = []


@contextmanager
def counted():
    """A `Count` of what happens inside: copies to the device and to the host, waits, and kernels."""
    count = Count()
    _counts.append(count)
    try:
        yield count
    finally:
        _counts.remove(count)


def note(*events: str) -> None:
    for count in _counts:
        for event in events:
            setattr(count, event, getattr(count, event) + 1)


assert {field.name for field in fields(Count)} == {"to_device", "to_host", "synchronisations", "launches"}


# --- devices --------------------------------------------------------------------------------------------------------


class _Thread(threading.local):
    """What is current in a thread."""

    def __init__(self) -> None:
        self.device = 0
        self.before: list[int] = []  # the devices that `with Device(n)` will go back to
        self.streams: dict[int, Stream] = {}
        self.left: list[tuple[int, Stream]] = []
        self.allocator: Callable | None = None


_thread = _Thread()


class Device:
    """A device; in a `with` block, the current one."""

    def __init__(self, device=None) -> None:
        self.id = _thread.device if device is None else int(device)

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return self.id

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def __enter__(self):
        _thread.before.append(_thread.device)
        runtime.setDevice(self.id)
        return self

    def __exit__(self, *error) -> None:
        _thread.device = _thread.before.pop()

    def use(self) -> None:
        runtime.setDevice(self.id)

    def synchronize(self) -> None:
        wait()

    @property
    def compute_capability(self) -> str:
        return "90"

    @property
    def mem_info(self) -> tuple[int, int]:
        return MEMORY - _default_pool.used_bytes(), MEMORY


def _set_device(number: int) -> None:
    if not 0 <= number < DEVICES:
        raise CUDARuntimeError(101)
    _thread.device = number


def _properties(number: int) -> dict:
    if not 0 <= number < DEVICES:
        raise CUDARuntimeError(101)
    return {
        "name": b"stand-in", "totalGlobalMem": MEMORY, "major": 9, "minor": 0, "multiProcessorCount": 132,
        "sharedMemPerBlock": 48 << 10, "maxThreadsPerBlock": 1024,
    }  # fmt: skip


# --- streams, events, graphs ----------------------------------------------------------------------------------------


class Event:
    """A place in the work of a stream."""

    def __init__(self, block=False, disable_timing=False, interprocess=False) -> None:
        self.capture: list | None = None  # in which it was recorded
        self.done = True

    def record(self, stream=None) -> None:
        (stream or get_current_stream()).record(self)

    def synchronize(self) -> None:
        wait()


class Stream:
    """A queue of work; `Stream()` is a new one, `Stream.null` the one that is current at first."""

    null: "Stream"
    _made = 1

    def __init__(self, null=False, non_blocking=False, ptds=False, priority=None) -> None:
        Stream._made += not null
        self.ptr = 0 if null else Stream._made
        self.device_id = -1 if null else _thread.device
        self._work: list[tuple[Callable[[], None], tuple]] | None = None  # noted while it captures
        self._failed = False

    def __eq__(self, other) -> bool:
        return isinstance(other, Stream) and self.ptr == other.ptr

    def __hash__(self) -> int:
        return self.ptr

    def __enter__(self):
        if self.device_id not in (-1, _thread.device):
            raise RuntimeError(
                f"The device that the stream is created on ({self.device_id}) does not match with the current device "
                f"({_thread.device})"
            )
        _thread.left.append((_thread.device, get_current_stream()))
        return self.use()

    def __exit__(self, *error) -> None:
        device, stream = _thread.left.pop()
        _thread.streams[device] = stream

    def use(self):
        _thread.streams[_thread.device] = self
        return self

    @property
    def done(self) -> bool:
        self._refuse_capture()
        return True

    def synchronize(self) -> None:
        self._refuse_capture()
        note("synchronisations")

    def record(self, event=None):
        event = event or Event()
        event.capture = self._work
        return event

    def wait_event(self, event) -> None:
        if event.capture is not self._work:  # only what belongs to one capture can depend on each other
            self._failed = True
            raise CUDARuntimeError(905)

    def begin_capture(self, mode=None) -> None:
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        if self._work is not None:
            raise CUDARuntimeError(900)
        self._work, self._failed = [], False

    def end_capture(self) -> "Graph":
        if self._work is None:
            raise CUDARuntimeError(900)
        work, self._work = self._work, None
        if self._failed:
            raise CUDARuntimeError(901)
        graph = object.__new__(Graph)
        graph._work = work
        return graph

    def is_capturing(self) -> bool:
        if self._failed and self._work is not None:
            raise CUDARuntimeError(901)
        return self._work is not None

    def _refuse_capture(self) -> None:
        if self._work is not None:
            self._failed = True
            raise CUDARuntimeError(900)


Stream.null = Stream(null=True)


class Graph:
    """The work that a stream noted while it captured; `launch` does it again, on the same memory."""

    def __init__(self, *args, **options) -> None:
        raise NotImplementedError(
            "currently this class cannot be initiated by the user and must be created via stream capture"
        )

    def upload(self, stream=None) -> None:
        pass

    def launch(self, stream=None) -> None:
        with stream or get_current_stream():
            submit(self._play, ())

    def _play(self) -> None:
        for work, blocks in self._work:
            for block in blocks:
                block.check_held()
            work()


def get_current_stream(device_id=-1) -> Stream:
    return _thread.streams.get(_thread.device if device_id == -1 else device_id, Stream.null)


def get_elapsed_time(start_event, end_event) -> float:
    return 0.0


def capturing() -> bool:
    return get_current_stream().is_capturing()


def submit(work: Callable[[], None], blocks) -> None:
    """One kernel for the current stream, which touches these blocks of memory: done now, or noted for a graph."""
    note("launches")
    stream = get_current_stream()
    if stream.is_capturing():
        stream._work.append((work, tuple(blocks)))
    else:
        work()


def wait() -> None:
    """The host waits for the device."""
    get_current_stream().synchronize()


def transfer(direction: str) -> None:
    """A copy between host and device: `to_host` or `to_device`."""
    get_current_stream()._refuse_capture()
    note(direction)


# --- memory ---------------------------------------------------------------------------------------------------------


class OutOfMemoryError(MemoryError):
    """As CuPy's: how much was asked for, how much it has, and the limit if one is set."""

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        self._size, self._total, self._limit = size, total, limit
        held = f"allocated so far: {total:,} bytes" + (f", limit set to: {limit:,} bytes" if limit else "")
        super().__init__(f"Out of memory allocating {size:,} bytes ({held}).")


class Block:
    """A piece of a pool's memory, and whether an array holds it."""

    def __init__(self, pool: "MemoryPool", size: int, device: int) -> None:
        self.pool, self.size, self.device, self.held = weakref.ref(pool), size, device, True

    def check_held(self) -> None:
        """Memory that a graph uses must not go to others after capture: its pool has to be its own, and still exist."""
        if not self.held and self.pool() in (None, _default_pool):
            raise RuntimeError(
                "a graph was launched whose memory has gone back to a pool that others use, or that no longer exists: "
                "capture inside `using_allocator(pool.malloc)`, and keep that pool as long as the graph"
            )


class Memory:
    """What `malloc` returns, and arrays hold: when the last of them is gone, the block goes back to its pool."""

    def __init__(self, block: Block) -> None:
        self.block = block

    def __del__(self) -> None:
        self.block.held = False
        pool = self.block.pool()
        if pool is not None:
            pool._used[self.block.device] -= self.block.size


class MemoryPool:
    """Memory of the current device, in steps of 512 bytes."""

    def __init__(self, allocator=None) -> None:
        self._used = [0] * DEVICES
        self._limits = [0] * DEVICES

    def malloc(self, size: int) -> Memory:
        device, rounded = _thread.device, -(-size // 512) * 512
        limit = self._limits[device]
        if self._used[device] + rounded > (limit or MEMORY):
            raise OutOfMemoryError(rounded, self._used[device], limit)
        self._used[device] += rounded
        return Memory(Block(self, rounded, device))

    def set_limit(self, size=None, fraction=None) -> None:
        self._limits[_thread.device] = int(fraction * MEMORY) if size is None else size

    def get_limit(self) -> int:
        return self._limits[_thread.device]

    def used_bytes(self) -> int:
        return self._used[_thread.device]

    total_bytes = used_bytes  # nothing is kept for later

    def free_bytes(self) -> int:
        return 0

    def n_free_blocks(self) -> int:
        return 0

    def free_all_blocks(self, stream=None) -> None:
        pass


_default_pool = MemoryPool()


def get_default_memory_pool() -> MemoryPool:
    return _default_pool


def alloc(size: int) -> Memory:
    return (_thread.allocator or _default_pool.malloc)(size)


@contextmanager
def using_allocator(allocator=None):
    before, _thread.allocator = _thread.allocator, allocator
    try:
        yield
    finally:
        _thread.allocator = before


def is_available() -> bool:
    return True


memory = SimpleNamespace(OutOfMemoryError=OutOfMemoryError, MemoryPool=MemoryPool)
runtime = SimpleNamespace(
    CUDARuntimeError=CUDARuntimeError,
    getDeviceCount=lambda: DEVICES,
    getDevice=lambda: _thread.device,
    setDevice=_set_device,
    getDeviceProperties=_properties,
    deviceSynchronize=wait,
    driverGetVersion=lambda: 13000,
    runtimeGetVersion=lambda: 13000,
    memGetInfo=lambda: Device().mem_info,
    streamCaptureModeGlobal=0,
    streamCaptureModeThreadLocal=1,
    streamCaptureModeRelaxed=2,
)
