"""Fuzzing of all that reads bytes from outside, guided by the lines of code that an input reaches."""
