"""The source tree, the scripts' packages and the tests' own modules can be imported, installed or not."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hypothesis import settings

_TESTS = Path(__file__).parent
for folder in (_TESTS, _TESTS.parent / "scripts", _TESTS.parent / "handler"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

# how long an example takes says more of the machine than of the code; continuous integration repeats the same examples,
# so that it fails for what a change did, while everybody else's runs go on looking for new ones
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")
