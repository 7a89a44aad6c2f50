"""The application's certificate, and the assertions it signs.

Source: `Microsoft identity platform application authentication certificate credentials
<https://learn.microsoft.com/entra/identity-platform/certificate-credentials>`_.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates

from core.providers.azure_key_vault.base64url import base64url

ASSERTION_SECONDS = 300
MAX_FILE = 256 * 1024


class UnfitCertificate(Exception):
    """The file cannot serve; the text says why and holds nothing of it."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its private key.

    Attributes:
        thumbprint: SHA-256 of the certificate, in base64url.
        key: The private key.
    """

    thumbprint: str
    key: RSAPrivateKey = field(repr=False)

    @classmethod
    def read(cls, path: str) -> Certificate:
        """Read a PEM file; its first certificate counts. It is read anew each time, so a renewed one is taken up.

        Raises:
            UnfitCertificate: It does not hold a certificate and the RSA key that belongs to it.
        """
        try:
            with Path(path).open("rb") as file:
                pem = file.read(MAX_FILE)
        except OSError as error:
            raise UnfitCertificate(f"the certificate's file cannot be read ({type(error).__name__})") from None
        try:
            certificate, key = load_pem_x509_certificates(pem)[0], load_pem_private_key(pem, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise UnfitCertificate("the certificate's file does not hold a certificate and its private key") from None
        if not isinstance(key, RSAPrivateKey) or key.public_key() != certificate.public_key():
            raise UnfitCertificate("the certificate's file holds no RSA key that belongs to its first certificate")
        return cls(base64url(certificate.fingerprint(SHA256())), key)

    def assertion(self, client_id: str, audience: str, now: float) -> str:
        """A JWT that proves us to be the application, to one token endpoint, for `ASSERTION_SECONDS`.

        Args:
            client_id: The application.
            audience: The token endpoint.
            now: Seconds since the epoch.
        """
        header = {"alg": "PS256", "typ": "JWT", "x5t#S256": self.thumbprint}
        claims = {
            "aud": audience,
            "iss": client_id,
            "sub": client_id,
            "jti": str(uuid4()),
            "nbf": int(now),
            "exp": int(now) + ASSERTION_SECONDS,
        }
        signed = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
        padding = PSS(MGF1(SHA256()), SHA256().digest_size)
        return f"{signed}.{base64url(self.key.sign(signed.encode(), padding, SHA256()))}"
