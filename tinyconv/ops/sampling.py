"""Images read at places between their pixels (spatial transformers: Jaderberg et al., arXiv:1506.02025)."""

from tinyconv.errors import ShapeError
from tinyconv.ops.conv import check_images
from tinyconv.ops.linear import same_dtype


class GridSample:
    """y[n,:,i,j] = the pixels of x[n] around the place grid[n,i,j], each times how near it is: bilinear interpolation.

    A place is (column, row), -1 and 1 at the edges. In pixels it is (v, u) = (row, column), and with its fractions f, g
    and the pixels a, b = 0, 1 after floor(v), floor(u),

        y = sum_ab near_a(f) near_b(g) x[v + a, u + b],     near_0(f) = 1 - f,  near_1(f) = f;
        dx gets near_a(f) near_b(g) dy at each pixel,       dv = sum_ab (2a - 1) near_b(g) <x[v + a, u + b], dy>.

    A pixel outside of x is 0. `padding` may move places inside: to the "border", or by "reflection" at the edges. The
    edges are the centres of the outer pixels with `align`, else their outer sides. `nearest` takes one pixel, whole.
    """

    name = "grid_sample"

    @staticmethod
    def check(x, grid, *, nearest, padding, align):
        check_images("grid_sample", x)
        if grid.ndim != 4 or grid.shape[3] != 2 or grid.shape[0] != x.shape[0]:
            raise ShapeError(
                f"grid_sample: grid must be ({x.shape[0]}, OH, OW, 2), places in each image, got {grid.shape}"
            )
        if 0 in x.shape[2:]:
            raise ShapeError(f"grid_sample: images of {x.shape} have no pixels to sample")
        same_dtype("grid_sample", input=x, grid=grid)

    @staticmethod
    def forward(xp, x, grid, *, nearest, padding, align):
        pixels, y = channels_last(x), 0
        (v, _), (u, _) = places(xp, x, grid, padding, align)
        for at, inside, near_v, near_u, _, _ in corners(xp, x, v, u, nearest):
            y = y + xp.where(inside, pixels[at] * (near_v * near_u)[..., None], 0)
        return y.transpose(0, 3, 1, 2), (x, grid)

    @staticmethod
    def backward(xp, saved, dy, needs, *, nearest, padding, align):
        x, grid = saved
        (n, c, h, w), pixels, dy = x.shape, channels_last(x), dy.transpose(0, 2, 3, 1)
        dx, dv, du = xp.zeros(n * h * w * c, dy.dtype), 0, 0
        (v, slope_v), (u, slope_u) = places(xp, x, grid, padding, align)
        for at, inside, near_v, near_u, sign_v, sign_u in corners(xp, x, v, u, nearest):
            if needs[0]:
                share = xp.where(inside, dy * (near_v * near_u)[..., None], 0)
                xp.add.at(dx, (at[..., None] * c + xp.arange(c)).reshape(-1), share.reshape(-1))
            if needs[1]:
                along = xp.sum(xp.where(inside, pixels[at] * dy, 0), axis=3)
                dv, du = dv + sign_v * near_u * along, du + sign_u * near_v * along
        return (
            dx.reshape(n, h, w, c).transpose(0, 3, 1, 2) if needs[0] else None,
            xp.stack([du * slope_u, dv * slope_v], axis=3) if needs[1] else None,
        )


def channels_last(x):
    """(N, C, H, W) -> (N H W, C): the pixels of all images."""
    n, c, h, w = x.shape
    return x.transpose(0, 2, 3, 1).reshape(n * h * w, c)


def places(xp, x, grid, padding, align):
    """For rows and columns, the places of the grid in pixels, and their slopes: the derivatives by the coordinates."""
    for size, axis in zip(x.shape[2:], (1, 0), strict=True):
        scale, first = ((size - 1) / 2, 0) if align else (size / 2, -0.5)  # where the edge at -1 is
        place, slope = (grid[..., axis] + 1) * scale + first, scale
        if padding == "reflection" and scale:
            turns = xp.floor((place - first) / (2 * scale))  # how often it passes an edge on its way
            back = turns % 2
            along = place - first - turns * (2 * scale)
            place, slope = first + back * (2 * scale) + (1 - 2 * back) * along, (1 - 2 * back) * scale
        if padding != "zeros":
            within = (xp.greater(place, 0) & xp.less(place, size - 1)).astype(grid.dtype)
            place, slope = xp.minimum(xp.maximum(place, 0), size - 1), within * slope
        yield place, slope


def corners(xp, x, v, u, nearest):
    """The pixels around (v, u): number, whether there is one, how near it is in rows and in columns, signs of those."""
    n, _, h, w = x.shape
    top, left = (xp.rint(v), xp.rint(u)) if nearest else (xp.floor(v), xp.floor(u))
    f, g = v - top, u - left
    image = xp.arange(n).reshape(n, 1, 1) * (h * w)
    for a, b in ((0, 0),) if nearest else ((0, 0), (0, 1), (1, 0), (1, 1)):
        row, column = top + a, left + b
        inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)  # NaN is nowhere
        row, column = (xp.where(inside, at, 0).astype(xp.int64) for at in (row, column))
        near_v, near_u = (xp.ones_like(f), xp.ones_like(g)) if nearest else (f if a else 1 - f, g if b else 1 - g)
        signs = (0, 0) if nearest else (2 * a - 1, 2 * b - 1)
        yield image + row * w + column, inside[..., None], near_v, near_u, *signs
