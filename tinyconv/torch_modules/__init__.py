"""Modules of torch's that have no room of their own here: switches that do nothing, and `as_torch`.

What may rightly do nothing on this library does; what may not raises an error that says what to use. They are found as
`tinyconv.cuda`, `tinyconv.backends.cudnn` and so on, by the table in `tinyconv.torch_names`.
"""
