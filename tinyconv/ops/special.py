"""The error function: the one special function NumPy lacks and an op needs (GELU)."""

# Chebyshev coefficients of ln(erfc(z) / t) + z^2 over t = 2 / (2 + z) in (0, 1], as a function of 2 t - 1. Computed
# from erfc to 60 digits at 60 Chebyshev nodes; the first one left out is 3e-17. The form (exp of a polynomial in t)
# is that of Schonfelder, Math. Comp. 32 (1978) 1232-1240.
_ERFC = (
    -0.6513268598908547, 0.6419697923564902, 0.019476473204185836, -0.009561514786808632,
    -0.0009465953444820369, 0.00036683949785276145, 4.252332480690777e-05, -2.0278578112534242e-05,
    -1.6242900046470256e-06, 1.3036558355805232e-06, 1.5626441722066142e-08, -8.523809591492654e-08,
    6.5290544390988515e-09, 5.059343495551469e-09, -9.91364156493033e-10, -2.273651222931836e-10,
    9.646791102015527e-11, 2.3940380830391146e-12, -6.886027526497553e-12, 8.944879273090725e-13,
    3.130921399342958e-13, -1.1270822361367252e-13, 3.810905255189232e-16, 7.106097613609237e-15,
    -1.5230282014571043e-15, -9.457494571291233e-17, 1.210237189224279e-16,
)  # fmt: skip
# 2 / sqrt(pi) / (n! (2 n + 1)); for |x| < 1/2 the first one left out adds 1e-18 of the value.
_SERIES = (
    1.1283791670955126, 0.37612638903183754, 0.11283791670955126, 0.026866170645131252, 0.005223977625442188,
    0.0008548327023450852, 0.00012055332981789664, 1.492565035840625e-05, 1.6462114365889246e-06,
    1.6365844691234924e-07, 1.4807192815879218e-08, 1.2290555301717926e-09, 9.422759064650411e-11,
)  # fmt: skip


def erf(xp, x):
    """erf(x) = 2 / sqrt(pi) * integral from 0 to x of e^(-s^2) ds, within a few roundings in the dtype of x.

    Below 1/2 it is Maclaurin's series, x sum_n 2 / sqrt(pi) (-x^2)^n / (n! (2 n + 1)): 1 - erfc would cancel there.
    """
    z = xp.where(xp.less(x, 0), -x, x)  # |x|, but with a derivative at 0: this is differentiated for second orders
    t = 2 / (2 + z)
    u = 2 * t - 1
    b, b_next = 0 * t, 0 * t  # Clenshaw's recurrence for the Chebyshev sum, from its last term down
    for coefficient in reversed(_ERFC[1:]):
        b, b_next = 2 * u * b - b_next + coefficient, b
    erfc = t * xp.exp(u * b - b_next + _ERFC[0] - z * z)
    near = xp.where(xp.less(z, 0.5), x, 0 * t)  # 0 where the series is not asked for, and could overflow
    series = 0 * t
    for coefficient in reversed(_SERIES):
        series = coefficient - near * near * series
    return xp.where(xp.less(z, 0.5), near * series, xp.where(xp.less(x, 0), erfc - 1, 1 - erfc))
