"""Measures false alarms and delays of the monitor and of other tools: `python -m detection_study`."""
