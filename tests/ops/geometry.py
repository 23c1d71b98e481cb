"""Geometries drawn first, then images that fit them: no example is thrown away for a window larger than its image."""

from hypothesis import assume
from hypothesis import strategies as st
from oracle import arrays, dtypes, shapes


@st.composite
def geometries(draw, max_kernel=3, max_extra=4):
    """kernel, stride, padding, dilation and an image size that the window fits into."""
    kernel, stride, dilation = (
        tuple(draw(st.tuples(*2 * [st.integers(1, top)]), label=label))
        for label, top in (("kernel", max_kernel), ("stride", 4), ("dilation", 3))
    )
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)), label="padding")
    size = tuple(
        max(1, d * (k - 1) + 1 - 2 * p) + draw(st.integers(0, max_extra), label="extra")
        for k, p, d in zip(kernel, padding, dilation, strict=True)
    )
    return kernel, stride, padding, dilation, size


@st.composite
def conv_cases(draw, max_kernel=3, max_extra=4):
    """The inputs of conv2d, its geometry as torch spells it, and which inputs need a gradient."""
    kernel, stride, padding, dilation, size = draw(geometries(max_kernel, max_extra))
    spelling = draw(st.sampled_from(["pair", "integers", "same", "valid"]))
    if spelling == "integers":
        stride, padding, dilation = stride[0], max(padding), min(dilation)
    elif spelling == "same":
        stride, padding = 1, "same"
    elif spelling == "valid":
        size = tuple(n + 2 * p for n, p in zip(size, padding, strict=True))
        padding = "valid"
    n, groups = draw(st.integers(0, 3), label="N"), draw(st.integers(1, 3), label="groups")
    c_each, f_each = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    shapes = [(n, groups * c_each, *size), (groups * f_each, c_each, *kernel), (groups * f_each,)]
    shapes = shapes[: draw(st.sampled_from([3, 2]), label="with or without bias")]
    dtype = draw(dtypes)
    inputs = [draw(arrays(shape, dtype)) for shape in shapes]
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return inputs, geometry, draw(some_of(len(inputs)), label="needs")


def no_window_is_empty(size, kernel, stride, padding, dilation):
    """A dilated window can step over a small image; what torch then does is not defined."""
    starts = range(-padding, 0, stride)
    return all(any(0 <= start + u * dilation < size for u in range(kernel)) for start in starts)


@st.composite
def pool_cases(draw, kinds, dilated):
    """An input and the geometry of a pooling whose padding is at most half its kernel."""
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)), label="kernel")
    dilation = draw(st.tuples(*2 * [st.integers(1, 2 if dilated else 1)]), label="dilation")
    padding = tuple(draw(st.integers(0, k // 2), label="padding") for k in kernel)
    size = tuple(
        max(1, d * (k - 1) + 1 - 2 * p) + draw(st.integers(0, 5), label="extra")
        for k, p, d in zip(kernel, padding, dilation, strict=True)
    )
    stride = draw(st.none() | st.tuples(st.integers(1, 4), st.integers(1, 4)), label="stride")
    assume(all(map(no_window_is_empty, size, kernel, stride or kernel, padding, dilation)))
    geometry = {
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "ceil_mode": draw(st.booleans(), label="ceil_mode"),
    }
    if dilated:
        geometry["dilation"] = dilation
    shape = (draw(st.integers(0, 2), label="N"), draw(st.integers(1, 2), label="C"), *size)
    return draw(arrays(shape, draw(dtypes), kinds)), geometry


@st.composite
def linear_cases(draw):
    """x with any number of leading axes, weight, and perhaps bias; and which of them need a gradient."""
    lead = draw(shapes(max_dims=3, max_side=3), label="batch axes")
    i, o, dtype = draw(st.integers(1, 5)), draw(st.integers(1, 5)), draw(dtypes)
    inputs = [draw(arrays(shape, dtype)) for shape in [(*lead, i), (o, i), (o,)][: draw(st.integers(2, 3))]]
    return inputs, draw(some_of(len(inputs)))


def some_of(count):
    """Numbers of inputs that need a gradient."""
    return st.sets(st.sampled_from(range(count)), min_size=1).map(sorted)
