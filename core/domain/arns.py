"""Amazon Resource Names of KMS keys and IAM roles, as a tenant may give them: parsed strictly, never guessed at.

An alias, a bare key id or another service's name is refused: stored rows name a key for good, and an alias can be
pointed at another key by whoever owns it (DESIGN 10).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.errors import InvalidRequest

_REGIONS_OF = {
    "aws": r"(?!cn-|us-gov-|us-iso|eu-iso|eusc-)[a-z]{2}(?:-[a-z]+)+-[0-9]{1,2}",
    "aws-cn": r"cn(?:-[a-z]+)+-[0-9]{1,2}",
    "aws-us-gov": r"us-gov(?:-[a-z]+)+-[0-9]{1,2}",
    "aws-iso": r"us-iso(?:-[a-z]+)+-[0-9]{1,2}",
    "aws-iso-b": r"us-isob(?:-[a-z]+)+-[0-9]{1,2}",
    "aws-iso-e": r"eu-isoe(?:-[a-z]+)+-[0-9]{1,2}",
    "aws-iso-f": r"us-isof(?:-[a-z]+)+-[0-9]{1,2}",
    "aws-eusc": r"eusc(?:-[a-z]+)+-[0-9]{1,2}",
}
"""Partitions, and what their Regions look like: a key's Region must belong to its partition."""
_KEY = re.compile(r"arn:([a-z-]{1,20}):kms:([a-z0-9-]{1,40}):([0-9]{12}):key/([!-~]{1,100})")
_KEY_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|mrk-[0-9a-f]{32}")
_ROLE = re.compile(
    r"arn:([a-z-]{1,20}):iam::([0-9]{12}):role/((?:[A-Za-z0-9+=,.@_-]{1,64}/){0,8})([A-Za-z0-9+=,.@_-]{1,64})"
)
_MULTI_REGION = "mrk-"


@dataclass(frozen=True, slots=True)
class KeyArn:
    """The ARN of a KMS key.

    Attributes:
        partition: Such as ``aws`` or ``aws-cn``.
        region: Such as ``eu-central-1``.
        account: 12 digits.
        key_id: A UUID, or ``mrk-`` and 32 hex digits.
    """

    partition: str
    region: str
    account: str
    key_id: str

    @classmethod
    def parse(cls, text: str) -> KeyArn:
        """Read an ARN.

        Raises:
            InvalidRequest: It is not the ARN of a KMS key; the hint says what is wrong with it.
        """
        found = _KEY.fullmatch(text)
        if found is None:
            raise InvalidRequest("this is not the ARN of a KMS key", hint=_key_hint(text))
        partition, region, account, key_id = found.groups()
        if partition not in _REGIONS_OF:
            raise InvalidRequest(
                "the ARN names no partition of AWS", hint=f"known partitions are {', '.join(_REGIONS_OF)}"
            )
        if not re.fullmatch(_REGIONS_OF[partition], region):
            raise InvalidRequest(f"the ARN's Region does not belong to the partition {partition}")
        if not _KEY_ID.fullmatch(key_id):
            raise InvalidRequest(
                "the ARN's key id is neither a UUID nor a multi-Region key id",
                hint="copy the key's ARN from the KMS console; an ARN with an asterisk names no key",
            )
        return cls(partition, region, account, key_id)

    def __str__(self) -> str:
        return f"arn:{self.partition}:kms:{self.region}:{self.account}:key/{self.key_id}"

    @property
    def identity(self) -> str:
        """What tells this key from every other; replicas of a multi-Region key are one key, whatever their Region."""
        region = "*" if self.key_id.startswith(_MULTI_REGION) else self.region
        return f"arn:{self.partition}:kms:{region}:{self.account}:key/{self.key_id}"


@dataclass(frozen=True, slots=True)
class RoleArn:
    """The ARN of an IAM role.

    Attributes:
        partition: As in a key's ARN.
        account: 12 digits.
        path: Without the leading slash, with the closing one; often "".
        name: The role's name.
    """

    partition: str
    account: str
    path: str
    name: str

    @classmethod
    def parse(cls, text: str) -> RoleArn:
        """Read an ARN.

        Raises:
            InvalidRequest: It is not the ARN of an IAM role.
        """
        found = _ROLE.fullmatch(text)
        if found is None or found[1] not in _REGIONS_OF:
            raise InvalidRequest(
                "this is not the ARN of an IAM role",
                hint="it looks like arn:aws:iam::111122223333:role/keystead; users and account roots are not accepted",
            )
        return cls(*found.groups())

    def __str__(self) -> str:
        return f"arn:{self.partition}:iam::{self.account}:role/{self.path}{self.name}"


def _key_hint(text: str) -> str:
    if ":alias/" in text or text.startswith("alias/"):
        return "an alias can be pointed at another key later; give the ARN of the key itself"
    return "it looks like arn:aws:kms:eu-central-1:111122223333:key/ and the key's id"
