"""Bytes that find their own way into what reads them, guided by which lines they reach."""
