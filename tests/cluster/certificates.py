"""What proves to a broker who somebody is: a CA and its certificates, an operator and its users."""

import base64
import datetime
import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Certificates:
    """Where they are."""

    ca: Path
    cert: Path
    key: Path


def certificates(folder: Path) -> Certificates:
    """Make them."""
    files = Certificates(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name, name = _name("test CA"), _name("broker")
    ca = (
        _signed(ca_name, ca_name, ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    cert = _signed(name, ca_name, key).add_extension(here, critical=False)
    files.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    signed = cert.sign(ca_key, hashes.SHA256())
    files.cert.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _signed(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )


def operated(credentials: Path) -> str:
    """The configuration of a broker that believes an operator, who lets in one user.

    Args:
        credentials: Where that user's are written.
    """
    import nkeys

    def key(kind: int, filling: int) -> tuple[bytes, Any]:
        seed = nkeys.encode_seed(bytes([filling] * 32), kind)
        return seed, nkeys.from_seed(bytearray(seed))

    def token(issuer: Any, subject: Any, nats: dict[str, object]) -> str:
        claims = {
            "jti": "x",
            "iat": 1_700_000_000,
            "iss": issuer.public_key.decode(),
            "sub": subject.public_key.decode(),
            "name": "test",
            "nats": {**nats, "version": 2},
        }
        parts = [_base64(json.dumps(part).encode()) for part in (_JWT, claims)]
        return ".".join([*parts, _base64(issuer.sign(".".join(parts).encode()))])

    _, operator = key(nkeys.PREFIX_BYTE_OPERATOR, 1)
    _, account = key(nkeys.PREFIX_BYTE_ACCOUNT, 2)
    seed, user = key(nkeys.PREFIX_BYTE_USER, 3)
    unlimited = {
        **dict.fromkeys(("subs", "data", "payload", "conn", "leaf"), -1),
        "wildcards": True,
    }
    keeping = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)
    own = token(account, user, {"type": "user", "subs": -1, "data": -1, "payload": -1})
    credentials.write_text(
        f"-----BEGIN NATS USER JWT-----\n{own}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed.decode()}\n------END USER NKEY SEED------\n"
    )
    _, system = key(nkeys.PREFIX_BYTE_ACCOUNT, 4)
    tokens = {
        each.public_key.decode(): token(operator, each, {"type": "account", "limits": limits})
        for each, limits in ((account, unlimited | keeping), (system, unlimited))
    }
    return (
        f"operator: {token(operator, operator, {'type': 'operator'})}\n"
        f"system_account: {system.public_key.decode()}\n"
        "resolver: MEMORY\n"
        f"resolver_preload: {json.dumps(tokens)}\n"
    )


_JWT = {"typ": "JWT", "alg": "ed25519-nkey"}


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
