"""What `tinyconv bench conv | lenet | cifar | ops` runs.

Every run first asserts that what it compares gives the same results. Then it times in turns, so that whatever else the
machine does falls on all alike, and writes a record with all samples. Tables and plots are made from the records.
"""
