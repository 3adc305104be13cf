"""Until when a certificate is good: held against what openssl says of the certificates that it made."""

from __future__ import annotations

import ssl
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from controller.adapters.certificate import CertificateEnds, end_of
from tests.fakes.clock import FakeClock


def make(folder: Path, name: str, *options: str) -> str:
    """A certificate of its own; gives its PEM text."""
    file = folder / f"{name}.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    where = ["-keyout", str(folder / f"{name}.key"), "-out", str(file), "-subj", f"/CN={name}"]
    subprocess.run([*command, *where, *options], check=True, capture_output=True, timeout=60)
    return file.read_text()


def openssl_says(pem: str) -> datetime:
    done = subprocess.run(
        ["openssl", "x509", "-noout", "-enddate"], input=pem, check=True, capture_output=True, text=True, timeout=60
    )
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(done.stdout.strip().removeprefix("notAfter=")), UTC)


@pytest.mark.parametrize("days", [1, 90, 5000, 20000], ids=lambda days: f"{days} days")
def test_the_end_is_what_openssl_says(tmp_path: Path, days: int) -> None:
    """20,000 days are beyond 2049, where the time has another form."""
    pem = make(tmp_path, "gateway", "-days", str(days))

    assert end_of(pem) == openssl_says(pem)


def test_a_long_subject_and_many_names_are_no_matter(tmp_path: Path) -> None:
    names = ",".join(f"DNS:host-{number}.example.org" for number in range(300))
    pem = make(tmp_path, "gateway", "-days", "30", "-addext", f"subjectAltName={names}")

    assert end_of(pem) == openssl_says(pem)


def test_of_a_chain_the_first_that_ends(tmp_path: Path) -> None:
    leaf, issuer = make(tmp_path, "leaf", "-days", "90"), make(tmp_path, "issuer", "-days", "7")

    assert end_of(leaf + issuer) == openssl_says(issuer)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no certificate"),
        ("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", "."),
        ("-----BEGIN CERTIFICATE-----\nMIIBCg==\n-----END CERTIFICATE-----\n", "within a part"),
        ("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n", "."),
    ],
    ids=["empty", "no parts", "cut off", "no base64"],
)
def test_what_is_no_certificate_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        end_of(text)


def test_no_cut_breaks_the_reader(tmp_path: Path) -> None:
    """Each beginning of a certificate is refused or tells the right end; nothing else is raised."""
    pem = make(tmp_path, "gateway", "-days", "30")
    der, told = ssl.PEM_cert_to_DER_cert(pem), 0
    for size in range(len(der)):
        try:
            told += end_of(ssl.DER_cert_to_PEM_cert(der[:size])) != openssl_says(pem)
        except ValueError:
            continue
    assert told == 0


def test_a_file_is_read_once_a_minute(tmp_path: Path) -> None:
    clock = FakeClock()
    ends = CertificateEnds(clock)
    first = make(tmp_path, "gateway", "-days", "30")
    file = str(tmp_path / "gateway.pem")
    assert ends.of(file) == openssl_says(first)

    second = make(tmp_path, "gateway", "-days", "60")
    clock.advance(59)
    assert ends.of(file) == openssl_says(first)
    clock.advance(1)
    assert ends.of(file) == openssl_says(second)

    Path(file).unlink()
    clock.advance(60)
    assert ends.of(file) is None


def test_another_file_is_read_at_once(tmp_path: Path) -> None:
    ends = CertificateEnds(FakeClock())
    make(tmp_path, "one", "-days", "30")
    other = make(tmp_path, "other", "-days", "40")

    assert ends.of(str(tmp_path / "one.pem")) is not None
    assert ends.of(str(tmp_path / "other.pem")) == openssl_says(other)
    assert ends.of(str(tmp_path / "none.pem")) is None


def test_a_clock_that_was_set_back_reads_anew(tmp_path: Path) -> None:
    clock = FakeClock()
    ends = CertificateEnds(clock)
    assert ends.of(str(tmp_path / "gateway.pem")) is None
    clock.advance(-3600)
    pem = make(tmp_path, "gateway", "-days", "30")

    assert ends.of(str(tmp_path / "gateway.pem")) == openssl_says(pem)
