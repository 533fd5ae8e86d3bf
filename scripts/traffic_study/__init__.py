"""False alarms and delays on real traffic in time order: the study behind docs/traffic.md."""
