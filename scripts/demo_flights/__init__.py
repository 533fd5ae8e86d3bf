"""The demo: a model of late flights, trained on 2013, meets the flights of 2023."""
