"""How every bundled checkpoint was made: one module each, run from a clean clone, without a network."""
