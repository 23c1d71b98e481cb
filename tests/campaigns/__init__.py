"""Campaigns: one kind of mishap, tried many times, each time another; a record of what was not as promised.

    make campaign                                  # all of them, at the size of docs/reliability.md
    make campaign CAMPAIGN=kill COUNT=100 SEED=7   # one of them, at another size

Each module here is a campaign. `PROMISE` says in a sentence what must hold, `COUNT` how many attempts the page reports,
`DOSE` how many `make test-all` makes, and `attempts(count, seed, folder)` yields an `Attempt` for each. What an attempt
does depends on the seed and on its number alone.
"""
