"""Statistics and p-values: pure functions of arrays that use NumPy and, imported inside functions, `scipy.special`."""
