"""Programs: what a captured step did, written down as instructions on arrays, and ways to do it again."""
