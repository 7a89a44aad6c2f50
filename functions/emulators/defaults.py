"""Names that the emulator, the command line and tests share."""

from __future__ import annotations

LOCAL_ACCESS_KEY_ID = "keystead-local"
LOCAL_SECRET_ACCESS_KEY = "keystead-local-secret"  # noqa: S105 - of an emulator, and public
LOCAL_ACCOUNT = "999999999999"
LOCAL_PRINCIPAL = "arn:aws:iam::999999999999:role/keystead"
CUSTOMER_ACCOUNT = "111122223333"
DEFAULT_REGION = "eu-central-1"
DEFAULT_PORT = 4599
