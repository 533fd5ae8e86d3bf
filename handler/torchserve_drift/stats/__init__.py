"""Statistics and p-values: pure functions of arrays, NumPy and (within functions) `scipy.special` only."""
