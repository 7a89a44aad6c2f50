"""The emulator's own certificate authority, and the certificate its server shows under Azure's names.

Whoever trusts the authority trusts it for these names: it belongs into one client's settings, never into a machine's
store of trusted authorities.
"""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from core.domain.vaults import CLOUDS

# Wide and fixed: a client checks them with the machine's clock, which is not the emulator's.
_BEGINS = datetime(2020, 1, 1, tzinfo=UTC)
_ENDS = datetime(2099, 12, 31, tzinfo=UTC)
_LOOPBACK = ("127.0.0.1", "::1")
_CA_USES = ("key_cert_sign", "crl_sign")
_LEAF_USES = ("digital_signature",)
_USES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority.

    Attributes:
        certificate_pem: For those who trust it.
        key_pem: Its private key, in the clear.
    """

    certificate_pem: str
    key_pem: str = field(repr=False)

    @classmethod
    def generate(cls) -> Authority:
        """A new one."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Keystead emulator of Azure, for tests only")])
        certificate = (
            _builder(name, name, key.public_key(), _CA_USES)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, SHA256())
        )
        return cls(certificate.public_bytes(Encoding.PEM).decode(), _pem(key).decode())

    def server_context(self) -> ssl.SSLContext:
        """For a server that answers to every name of the emulated services.

        Raises:
            ValueError: The authority is none.
        """
        signing = load_pem_private_key(self.key_pem.encode(), None)
        if not isinstance(signing, ec.EllipticCurvePrivateKey):
            raise ValueError("the certificate authority's key is of another type")
        issuer = x509.load_pem_x509_certificate(self.certificate_pem.encode())
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        certificate = (
            _builder(subject, issuer.subject, key.public_key(), _LEAF_USES)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(_names()), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
                    issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
                ),
                critical=False,
            )
            .sign(signing, SHA256())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        with TemporaryDirectory(prefix="keystead-emulator-") as folder:  # readable by its owner only
            chain = Path(folder) / "chain.pem"
            chain.write_bytes(_pem(key) + certificate.public_bytes(Encoding.PEM))
            context.load_cert_chain(chain)
        return context


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, uses: tuple[str, ...]
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGINS)
        .not_valid_after(_ENDS)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.KeyUsage(**{use: use in uses for use in _USES}), critical=True)
    )


def _names() -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = [x509.DNSName("localhost")]
    found += [x509.IPAddress(ipaddress.ip_address(address)) for address in _LOOPBACK]
    for cloud in CLOUDS.values():
        found += [x509.DNSName(f"*.{cloud.vault_domain}"), x509.DNSName(f"*.{cloud.hsm_domain}")]
        found.append(x509.DNSName(cloud.authority))
    return found


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
