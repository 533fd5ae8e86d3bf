"""The demo: a model of late flights is trained on flights of 2013, and then serves flights of 2023."""
