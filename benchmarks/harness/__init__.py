"""Benchmarks: `tinyconv bench conv | lenet | cifar | ops`, and the scripts in benchmarks/ that call the same functions.

Every run first asserts that what it compares gives the same results, then times in turns, so that whatever else the
machine does falls on all of them, and writes a record with all samples. Tables and plots are made from the records.
"""
