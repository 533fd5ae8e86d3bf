"""Certificates made by openssl, for tests of TLS."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Optional


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=30)


def certificate(folder: Path, name: str, signer: Optional[str] = None) -> None:
    """``name.pem`` and ``name.key`` for 127.0.0.1, signed by ``signer``; without one, a certificate authority."""
    openssl(folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", f"{name}.key", "-out", f"{name}.csr")  # fmt: skip
    use = "subjectAltName=IP:127.0.0.1\nkeyUsage=digitalSignature\n"
    authority = "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n"
    (folder / f"{name}.ext").write_text(use if signer else authority)
    by = (
        ["-CA", f"{signer}.pem", "-CAkey", f"{signer}.key", "-CAcreateserial"]
        if signer
        else ["-signkey", f"{name}.key"]
    )
    openssl(folder, "x509", "-req", "-in", f"{name}.csr", *by, "-days", "30", "-extfile", f"{name}.ext",
            "-out", f"{name}.pem")  # fmt: skip


def authorities(folder: Path) -> None:
    """``server`` and ``client`` signed by ``ca``, and a ``stranger`` signed by another."""
    certificate(folder, "ca")
    certificate(folder, "other_ca")
    for name, signer in (("server", "ca"), ("client", "ca"), ("stranger", "other_ca")):
        certificate(folder, name, signer)
