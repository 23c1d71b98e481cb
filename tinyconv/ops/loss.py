"""Losses: an elementwise or per-example loss, then a reduction ("none", "sum" or "mean").

Classes lie along axis 1: logits are (N, C) or (N, C, ...), and class indices have the same shape without C.
"""

from tinyconv.errors import DtypeError, ShapeError
from tinyconv.ops.activation import log_softmax
from tinyconv.ops.elementwise import unbroadcast
from tinyconv.ops.linear import same_dtype
from tinyconv.ops.reduce import one_hot


def reduced(xp, loss, reduction, scale):
    if reduction == "mean" and not loss.size:
        scale = float("nan")  # the mean of nothing, as everywhere; but its gradient is nothing, not NaN
    return loss if reduction == "none" else xp.sum(loss) * scale


def mean_scale(size):
    return 1 / max(size, 1)


def check_pair(name, x, target):
    """What mse_loss and l1_loss need: one floating-point dtype."""
    if x.dtype != target.dtype or x.dtype.kind != "f":
        raise DtypeError(
            f"{name}: expected two floating-point tensors of one dtype, got {x.dtype} and {target.dtype}: "
            "target.to(input.dtype)?"
        )


class MseLoss:
    """l = (x - t)^2;  dx = 2 (x - t) dl,  dt = -dx."""

    @staticmethod
    def check(x, target, *, reduction):
        check_pair("mse_loss", x, target)

    @staticmethod
    def forward(xp, x, target, *, reduction):
        difference = x - target
        scale = mean_scale(difference.size) if reduction == "mean" else 1
        return reduced(xp, difference * difference, reduction, scale), (difference, scale, x.shape, target.shape)

    @staticmethod
    def backward(xp, saved, dy, needs, *, reduction):
        difference, scale, x_shape, target_shape = saved
        dx = dy * (2 * scale) * difference
        return (
            unbroadcast(xp, dx, x_shape) if needs[0] else None,
            unbroadcast(xp, -dx, target_shape) if needs[1] else None,
        )


class L1Loss:
    """l = |x - t|;  dx = sign(x - t) dl,  dt = -dx."""

    @staticmethod
    def check(x, target, *, reduction):
        check_pair("l1_loss", x, target)

    @staticmethod
    def forward(xp, x, target, *, reduction):
        difference = x - target
        scale = mean_scale(difference.size) if reduction == "mean" else 1
        return reduced(xp, xp.abs(difference), reduction, scale), (difference, scale, x.shape, target.shape)

    @staticmethod
    def backward(xp, saved, dy, needs, *, reduction):
        difference, scale, x_shape, target_shape = saved
        dx = dy * scale * xp.sign(difference)
        return (
            unbroadcast(xp, dx, x_shape) if needs[0] else None,
            unbroadcast(xp, -dx, target_shape) if needs[1] else None,
        )


class HuberLoss:
    """l = d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), with d = x - t;  dx = d, but at most delta away

    from 0, times dl,  dt = -dx. Huber, Annals of Mathematical Statistics 35 (1964), page 73.
    """

    @staticmethod
    def check(x, target, *, delta, reduction):
        check_pair("huber_loss", x, target)

    @staticmethod
    def forward(xp, x, target, *, delta, reduction):
        difference = x - target
        size = xp.abs(difference)
        loss = xp.where(xp.less_equal(size, delta), 0.5 * difference * difference, delta * (size - 0.5 * delta))
        scale = mean_scale(loss.size) if reduction == "mean" else 1
        return reduced(xp, loss, reduction, scale), (difference, scale, x.shape, target.shape)

    @staticmethod
    def backward(xp, saved, dy, needs, *, delta, reduction):
        difference, scale, x_shape, target_shape = saved
        dx = dy * scale * xp.maximum(xp.minimum(difference, delta), -delta)
        return (
            unbroadcast(xp, dx, x_shape) if needs[0] else None,
            unbroadcast(xp, -dx, target_shape) if needs[1] else None,
        )


class Bce:
    """l = -w (t ln x + (1 - t) ln(1 - x)) of probabilities x, where no logarithm is below -100;

    dx = w (x - t) / (x (1 - x)) dl, where the divisor is at least 1e-12,  dt = w (ln(1 - x) - ln x) dl.
    """

    @staticmethod
    def check(x, target, weight, *, reduction):
        if x.shape != target.shape:
            raise ShapeError(
                f"binary_cross_entropy: probabilities are {x.shape} and targets {target.shape}; they must be equal"
            )
        if weight is not None and not broadcasts_to(weight.shape, x.shape):
            raise ShapeError(f"binary_cross_entropy: weight must broadcast to {x.shape}, got {weight.shape}")
        same_dtype("binary_cross_entropy", input=x, target=target, weight=weight)

    @staticmethod
    def check_values(x, target, weight, *, reduction):
        if not ((x >= 0) & (x <= 1)).all():
            raise ShapeError(
                "binary_cross_entropy: the input must be probabilities, from 0 to 1; of logits take "
                "binary_cross_entropy_with_logits"
            )

    @staticmethod
    def forward(xp, x, target, weight, *, reduction):
        yes, no = xp.maximum(xp.log(x), -100), xp.maximum(xp.log(1 - x), -100)
        loss = (target - 1) * no - target * yes
        loss = loss if weight is None else weight * loss
        scale = mean_scale(loss.size) if reduction == "mean" else 1
        return reduced(xp, loss, reduction, scale), (x, target, weight, yes, no, scale)

    @staticmethod
    def backward(xp, saved, dy, needs, *, reduction):
        x, target, weight, yes, no, scale = saved
        dl = dy * scale if weight is None else dy * scale * weight
        return (
            dl * ((x - target) / xp.maximum(x * (1 - x), 1e-12)) if needs[0] else None,
            dl * (no - yes) if needs[1] else None,
            None,
        )


class BceWithLogits:
    """l = w ((1 - t) x + (1 + (q - 1) t) ln(1 + e^-x)), with weights w and q (of the positive class);

    with s the sigmoid of x,  dx = w ((1 - t) - (1 + (q - 1) t) (1 - s)) dl,  dt = w (q ln(1 + e^-x) - ln(1 + e^x)) dl.
    ln(1 + e^-x) is taken as logaddexp(0, -x), which does not overflow.
    """

    @staticmethod
    def check(x, target, weight, pos_weight, *, reduction):
        if x.shape != target.shape:
            raise ShapeError(
                f"binary_cross_entropy_with_logits: logits are {x.shape} and targets {target.shape}; they must be equal"
            )
        for what, w in {"weight": weight, "pos_weight": pos_weight}.items():
            if w is not None and not broadcasts_to(w.shape, x.shape):
                raise ShapeError(
                    f"binary_cross_entropy_with_logits: {what} must broadcast to the shape of the logits, {x.shape}, "
                    f"got {w.shape}"
                )
        same_dtype("binary_cross_entropy_with_logits", input=x, target=target, weight=weight, pos_weight=pos_weight)

    @staticmethod
    def forward(xp, x, target, weight, pos_weight, *, reduction):
        softplus = xp.logaddexp(xp.zeros_like(x), -x)
        positive = 1 if pos_weight is None else 1 + (pos_weight - 1) * target
        loss = (1 - target) * x + positive * softplus
        loss = loss if weight is None else weight * loss
        scale = mean_scale(loss.size) if reduction == "mean" else 1
        return reduced(xp, loss, reduction, scale), (x, target, weight, pos_weight, positive, softplus, scale)

    @staticmethod
    def backward(xp, saved, dy, needs, *, reduction):
        x, target, weight, pos_weight, positive, softplus, scale = saved
        dl = dy * scale if weight is None else dy * scale * weight
        dx = dt = None
        if needs[0]:
            s = xp.exp(-softplus)
            dx = dl * ((1 - target) - positive * (1 - s))
        if needs[1]:
            dt = dl * (-x if pos_weight is None else pos_weight * softplus - xp.logaddexp(xp.zeros_like(x), x))
        return dx, dt, None, None


def broadcasts_to(shape, to):
    """Whether an array of `shape` broadcasts against one of shape `to` without making it any larger."""
    return len(shape) <= len(to) and all(n in (1, m) for n, m in zip(shape[::-1], to[::-1], strict=False))


def check_scores(name, scores, weight):
    """Scores have their classes along axis 1, and `weight` one number for each."""
    if scores.ndim < 2:
        raise ShapeError(f"{name}: expected scores (N, C) or (N, C, ...), got {scores.shape}")
    c = scores.shape[1]
    if weight is not None and weight.shape != (c,):
        raise ShapeError(f"{name}: weight must hold one number a class, ({c},), got {weight.shape}")


def check_classes(name, scores, target, weight):
    """What cross_entropy and nll_loss need of class indices, besides their range."""
    check_scores(name, scores, weight)
    expected = scores.shape[:1] + scores.shape[2:]
    if target.dtype.kind not in "iu":
        raise DtypeError(
            f"{name}: class indices must be integers, got {target.dtype} of shape {target.shape}: target.long()?"
        )
    if target.shape != expected:
        hint = ": one-hot targets? target.argmax(1)" if target.shape == scores.shape else ""
        hint = ": target.squeeze(-1)?" if target.shape == (*expected, 1) else hint
        raise ShapeError(f"{name}: scores are {scores.shape}, so targets must be {expected}, got {target.shape}{hint}")
    same_dtype(name, input=scores, weight=weight)


def check_range(name, target, c, ignore_index):
    """Every target must be a class, or `ignore_index`."""
    bad = ((target < 0) | (target >= c)) & (target != ignore_index)
    if bad.any():
        first = target[bad].flat[0]
        raise ShapeError(
            f"{name}: targets must be class indices 0 to {c - 1} (scores have {c} classes), got {first} "
            f"({int(bad.sum())} such){': labels that count from 1? target - 1' if first == c else ''}"
        )


def pick_classes(xp, target, shape, weight, ignore_index, dtype):
    """`hot`, whether a class is the target; `kept`, whether an example counts; and its weight, 0 if it does not.

    The last two are (N, 1, ...).
    """
    index = xp.expand_dims(target, 1).astype(xp.int64)  # (N, 1, ...); `ignore_index` may be no number of its dtype
    kept = xp.not_equal(index, ignore_index)
    hot = one_hot(xp, index, shape, 1) & kept
    if weight is None:
        return hot, kept, kept.astype(dtype)
    return hot, kept, xp.sum(hot * weight.reshape((1, -1) + (1,) * (len(shape) - 2)), axis=1, keepdims=True)


class NllLoss:
    """l[n] = -w[t_n] x[n, t_n];  dx[n, c] = -w[c] dl[n] where c = t_n. The mean divides by the sum of the weights."""

    @staticmethod
    def check(x, target, weight, *, ignore_index, reduction):
        check_classes("nll_loss", x, target, weight)

    @staticmethod
    def check_values(x, target, weight, *, ignore_index, reduction):
        check_range("nll_loss", target, x.shape[1], ignore_index)

    @staticmethod
    def forward(xp, x, target, weight, *, ignore_index, reduction):
        hot, _, w = pick_classes(xp, target, x.shape, weight, ignore_index, x.dtype)
        loss = -xp.sum(xp.where(hot, x, 0), axis=1) * w[:, 0]
        scale = 1 / xp.sum(w) if reduction == "mean" else 1
        return reduced(xp, loss, reduction, scale), (hot, w, scale)

    @staticmethod
    def backward(xp, saved, dy, needs, *, ignore_index, reduction):
        hot, w, scale = saved
        dl = xp.expand_dims(dy, 1) if reduction == "none" else dy * scale
        return xp.where(hot, -w * dl, 0), None, None


class CrossEntropy:
    """Cross-entropy of softmax(x) with class indices t. With p = softmax(x), smoothing e and class weights w:

    l[n] = -(1 - e) w[t] ln p[n, t] - e / C sum_c w[c] ln p[n, c];  the mean divides by the sum of w[t].

    Each row is -sum_c q[c] ln p[c] for weights q with sum Q, so dx = (Q p - q) dl: the softmax and the logarithm
    cancel, which is why they are one op. Smoothing: Szegedy et al., arXiv:1512.00567, section 7.
    """

    @staticmethod
    def check(x, target, weight, *, ignore_index, reduction, label_smoothing):
        check_classes("cross_entropy", x, target, weight)

    @staticmethod
    def check_values(x, target, weight, *, ignore_index, reduction, label_smoothing):
        check_range("cross_entropy", target, x.shape[1], ignore_index)

    @staticmethod
    def forward(xp, x, target, weight, *, ignore_index, reduction, label_smoothing):
        log_p = log_softmax(xp, x, 1)
        hot, kept, w = pick_classes(xp, target, x.shape, weight, ignore_index, x.dtype)
        q = xp.where(hot, w, 0)
        if label_smoothing:
            classes = 1 if weight is None else weight.reshape((1, -1) + (1,) * (x.ndim - 2))
            q = (1 - label_smoothing) * q + xp.where(kept, label_smoothing / max(x.shape[1], 1) * classes, 0).astype(
                x.dtype
            )
        loss = -xp.sum(xp.where(xp.equal(q, 0), 0, q * log_p), axis=1)  # 0 ln 0 = 0
        scale = 1 / xp.sum(w) if reduction == "mean" else 1
        return reduced(xp, loss, reduction, scale), (log_p, q, kept, scale)

    @staticmethod
    def backward(xp, saved, dy, needs, *, ignore_index, reduction, label_smoothing):
        log_p, q, kept, scale = saved
        dl = xp.expand_dims(dy, 1) if reduction == "none" else dy * scale
        dl = xp.where(kept, dl, 0)  # the mean of no example is 0 * inf, but its gradient is 0
        return (xp.exp(log_p) * xp.sum(q, axis=1, keepdims=True) - q) * dl, None, None


class SoftCrossEntropy:
    """Cross-entropy with class probabilities t of the shape of x: l[n] = -sum_c w[c] t[n, c] ln p[n, c].

    With q = w t and Q its sum over c,  dx = (Q p - q) dl,  dt = -w ln p dl,  dw[c] = -sum_n t[n, c] ln p[n, c] dl[n].
    The mean divides by the number of examples.
    """

    @staticmethod
    def check(x, target, weight, *, reduction):
        if x.shape != target.shape:
            raise ShapeError(
                f"cross_entropy: targets are floating point, so they are class probabilities and need the shape of "
                f"the logits, {x.shape}; got {target.shape}. Class indices? target.long()"
            )
        check_scores("cross_entropy", x, weight)
        same_dtype("cross_entropy", input=x, target=target, weight=weight)

    @staticmethod
    def forward(xp, x, target, weight, *, reduction):
        log_p = log_softmax(xp, x, 1)
        w = 1 if weight is None else weight.reshape((1, -1) + (1,) * (x.ndim - 2))
        q = w * target
        scale = mean_scale(x.size // max(x.shape[1], 1)) if reduction == "mean" else 1
        return reduced(xp, -xp.sum(q * log_p, axis=1), reduction, scale), (log_p, q, target, w, scale)

    @staticmethod
    def backward(xp, saved, dy, needs, *, reduction):
        log_p, q, target, w, scale = saved
        dl = xp.expand_dims(dy, 1) if reduction == "none" else dy * scale
        return (
            (xp.exp(log_p) * xp.sum(q, axis=1, keepdims=True) - q) * dl if needs[0] else None,
            -w * log_p * dl if needs[1] else None,
            -xp.sum(target * log_p * dl, axis=(0, *range(2, log_p.ndim))) if needs[2] else None,
        )
