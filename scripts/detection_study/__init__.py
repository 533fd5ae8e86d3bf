"""False alarms and delays of the monitor beside other tools', measured: `python -m detection_study`."""
