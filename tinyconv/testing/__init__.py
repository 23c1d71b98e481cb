"""The argument spaces of our own ops: what may be drawn for each, beside PyTorch's answer.

Users have `tinyconv.check`.
"""
