"""Certificates for tests of TLS, made by the openssl on PATH."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from compose.local.errors import Unavailable
from compose.local.launch import HOST
from compose.local.processes import run

DAYS = 30
KEY = ("-newkey", "rsa:2048", "-nodes")


@dataclass(frozen=True)
class Identity:
    """A certificate and its key, each a PEM file of its own, and both in one."""

    certificate: Path
    key: Path
    store: Path
    """Key and certificate in one file, as Kafka's PEM stores want them."""


@dataclass(frozen=True)
class Authority:
    """An authority with its own root certificate; two of them do not trust each other."""

    certificate: Path
    key: Path

    def issue(self, name: str, host: str = HOST) -> Identity:
        """A certificate for a server at this host, or for a client of this name."""
        folder = self.certificate.parent
        key, request, certificate, extensions, store = (
            folder / f"{name}.{suffix}" for suffix in ("key", "csr", "crt", "ext", "pem")
        )
        kind = "IP" if host.replace(".", "").isdigit() else "DNS"
        extensions.write_text(f"subjectAltName={kind}:{host}\n")
        _openssl("req", "-new", *KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        words = ("x509", "-req", "-in", request, "-out", certificate, "-days", str(DAYS))
        signed = ("-CA", self.certificate, "-CAkey", self.key, "-CAcreateserial")
        _openssl(*words, *signed, "-extfile", extensions)
        store.touch(mode=0o600)
        store.write_text(key.read_text() + certificate.read_text())
        return Identity(certificate, key, store)


def authority(folder: Path, name: str = "authority") -> Authority:
    """A new authority, whose files and those of whom it certifies lie in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Authority(folder / f"{name}.crt", folder / f"{name}.key")
    subject = ("-subj", f"/CN={name}", "-days", str(DAYS))
    _openssl("req", "-x509", *KEY, *subject, "-keyout", made.key, "-out", made.certificate)
    return made


def _openssl(*words: str | Path) -> None:
    found = shutil.which("openssl")
    if found is None:
        raise Unavailable("no openssl on PATH")
    run([found, *words])
