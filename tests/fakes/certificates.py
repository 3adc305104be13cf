"""Certificates that sign themselves, for servers on this machine."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

LOCAL = "subjectAltName=DNS:localhost,IP:127.0.0.1"


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path

    def renew(self, *extensions: str, serial: int = 1) -> None:
        """Another one in their place, by rename. Without extensions it is a certificate without a name."""
        told = [word for extension in extensions for word in ("-addext", extension)]
        made = ["-keyout", f"{self.key}.new", "-out", f"{self.certificate}.new", "-set_serial", str(serial)]
        kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        command = ["openssl", "req", *kind, "-subj", "/CN=stoker", *told, *made]
        subprocess.run(command, check=True, capture_output=True, timeout=30)
        for file in (self.certificate, self.key):
            os.replace(f"{file}.new", file)


def made(folder: Path, *extensions: str, name: str = "made") -> Pair:
    """A new pair in that folder, for localhost unless told otherwise."""
    pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
    pair.renew(*(extensions or (LOCAL,)))
    return pair
