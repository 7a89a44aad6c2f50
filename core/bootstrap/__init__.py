"""The composition root: the only package that knows every leaf."""

from core.bootstrap.assembly import assemble, build
from core.bootstrap.auditing import AuditReader, open_audit
from core.bootstrap.local import KEKS, SIGNING, STORE, local_leaves
from core.bootstrap.parts import Application, AwsConfig, AzureConfig, Config, Leaves

__all__ = [
    "KEKS",
    "SIGNING",
    "STORE",
    "Application",
    "AuditReader",
    "AwsConfig",
    "AzureConfig",
    "Config",
    "Leaves",
    "assemble",
    "build",
    "local_leaves",
    "open_audit",
]
