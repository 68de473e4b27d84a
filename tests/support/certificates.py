"""Certificates for servers of tests."""

import subprocess
from pathlib import Path


def certificate(directory: Path, name: str = "server") -> None:
    """Make a key and a certificate that vouches for itself."""
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-days", "2", "-subj", f"/CN={name}", "-addext",
            "subjectAltName=IP:127.0.0.1", "-keyout", directory / f"{name}.key",
            "-out", directory / f"{name}.crt",
        ],
        check=True, capture_output=True,
    )  # fmt: skip
