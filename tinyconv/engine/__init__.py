"""How pairs become gradients: the context of an op, the tape, its nodes, variants, dtypes, writes. No Tensor here."""
