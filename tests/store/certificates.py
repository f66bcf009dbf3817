"""Certificates for 127.0.0.1 and localhost, made by the openssl program: a good one, and one that has expired."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="makes certificates with the openssl program"
)

_SETTINGS = """
[ca]
default_ca = own
[own]
database = index.txt
rand_serial = yes
new_certs_dir = .
default_md = sha256
policy = any
x509_extensions = names
[any]
commonName = supplied
[names]
subjectAltName = IP:127.0.0.1,DNS:localhost
basicConstraints = CA:TRUE
[req]
distinguished_name = nobody
[nobody]
"""


def make(folder: Path, *, expired: bool = False) -> tuple[Path, ssl.SSLContext]:
    """A self-signed certificate, which is its own authority, and a server's context with it."""
    folder.mkdir(parents=True)
    (folder / "own.cnf").write_text(_SETTINGS)
    (folder / "index.txt").touch()
    years = ("20000101000000Z", "20010101000000Z") if expired else ("20240101000000Z", "20991231000000Z")
    for line in (
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -config own.cnf "
        "-keyout key.pem -out request.pem",
        f"ca -selfsign -batch -config own.cnf -keyfile key.pem -in request.pem -out certificate.pem -notext "
        f"-startdate {years[0]} -enddate {years[1]}",
    ):
        subprocess.run(["openssl", *line.split()], cwd=folder, check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return folder / "certificate.pem", context
