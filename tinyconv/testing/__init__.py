"""The argument spaces of our own ops: what is drawn to check each, and how PyTorch is asked the same.

Ops of a user's own are checked by `tinyconv.check`.
"""
