"""MAR-INF/MANIFEST.json, as torch-model-archiver 0.12 writes it."""

from __future__ import annotations

import json
import time
from typing import Optional

ARCHIVER_VERSION = "0.12.0"


def manifest(
    *,
    model_name: str,
    version: str,
    handler: str,
    created: float,
    runtime: str = "python",
    serialized_file: Optional[str] = None,
    model_file: Optional[str] = None,
    requirements_file: Optional[str] = None,
    config_file: Optional[str] = None,
) -> bytes:
    """The manifest. Files are given by their names inside the archive, ``created`` in seconds since 1970.

    Examples
    --------
    >>> text = manifest(model_name="m", version="1.0", handler="h.py", created=0).decode()
    >>> json.loads(text)["createdOn"], json.loads(text)["model"]
    ('01/01/1970 00:00:00', {'modelName': 'm', 'handler': 'h.py', 'modelVersion': '1.0'})
    """
    model = {
        "modelName": model_name,
        "serializedFile": serialized_file,
        "handler": handler,
        "modelFile": model_file,
        "modelVersion": version,
        "requirementsFile": requirements_file,
        "configFile": config_file,
    }
    content = {
        # gmtime: local time would give other bytes in other places
        "createdOn": time.strftime("%d/%m/%Y %H:%M:%S", time.gmtime(created)),
        "runtime": runtime,
        "model": {key: value for key, value in model.items() if value},
        "archiverVersion": ARCHIVER_VERSION,
    }
    return json.dumps(content, indent=2).encode()
