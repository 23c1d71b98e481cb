"""The campaign *ranks* sees what it is there to see: in a library that is broken attempts fail."""

import pytest

from campaigns import ranks

WHICH = {"the first": 11, "another": 0}  # seeds whose first attempt kills that rank


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sabotage", "struck", "seen"),
    [
        ("processes._end_with = lambda *args: None", "the first", "processes are there after"),
        ("processes._watch = lambda *args: None", "another", "processes are there after"),
    ],
    ids=["children outlive the first", "nobody misses a child"],
)
def test_what_is_broken_is_seen(sabotage, struck, seen, tmp_path):
    broken = f"from tinyconv.distributed import processes\n{sabotage}\n"
    (found,) = ranks.attempts(1, WHICH[struck], tmp_path, broken)
    assert found.kind.startswith(struck)
    assert seen in found.failure
