"""The layers hold: what imports what, who reads the environment and the clock, what the message path loads."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.layers import LIBRARIES, MAY_IMPORT, sources, violations

ROOT = Path(__file__).resolve().parent.parent
MODULES = sources(ROOT)

# What encrypt and decrypt load must stay small: a cold function pays for every library.
HEAVY = (
    "aws_encryption_sdk",
    "aws_lambda_powertools",
    "azure",
    "boto3",
    "botocore",
    "click",
    "httpx",
    "jwt",
    "pydantic",
    "starlette",
    "uvicorn",
)
CONFIGURING = ("core.domain.arns", "core.domain.key_target", "core.domain.vaults", "core.service.key_configuration")
# Control plane: loaded when a tenant's key is configured, never by encrypt or decrypt.
OFF_THE_MESSAGE_PATH = frozenset({"core.domain.key_config"})
MESSAGE_PATH = sorted(
    name
    for name in MODULES.values()
    if name.startswith(("core.domain", "core.service", "core.ports", "core.errors", "core.stores.memory"))
    and name not in OFF_THE_MESSAGE_PATH
)


def test_the_rules_look_at_every_module() -> None:
    on_disk = {path for package in ("core", "functions") for path in (ROOT / package).glob("**/*.py")}
    assert set(MODULES) == on_disk
    if (ROOT / "core").is_dir():
        assert MODULES, "core/ exists, yet no module was found in it"
        assert MESSAGE_PATH, "core/ exists, yet no module counts as message path"


@pytest.mark.parametrize(("path", "module"), [pytest.param(path, name, id=name) for path, name in MODULES.items()])
def test_module_keeps_to_its_layer(path: Path, module: str) -> None:
    found = violations(module, path.read_text(encoding="utf-8"), is_package=path.name == "__init__.py")
    assert not found, "\n".join(["the layer rules stand in tests/layers.py:", *found])


def test_every_library_line_belongs_to_a_layer() -> None:
    """A line whose prefix is misspelt would never apply, and nobody would notice."""
    assert all(entry.split(".")[0] in ("core", "functions") for entry in LIBRARIES)
    layers = {".".join(entry.split(".")[:2]) for entry in LIBRARIES if entry.startswith("core.")}
    assert layers <= set(MAY_IMPORT)


def loaded_by(*modules: str, watched: tuple[str, ...] = HEAVY) -> list[str]:
    """Which of the watched modules a fresh process has loaded after importing some others."""
    code = (
        "import importlib, json, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print(json.dumps([name for name in {watched!r} if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"importing {modules} failed:\n{done.stderr}"
    loaded: list[str] = json.loads(done.stdout)
    return loaded


def test_encrypting_loads_nothing_of_configuring_keys() -> None:
    """Their patterns take a cold function time to compile."""
    assert "core.domain.key_target" in loaded_by("core.domain.key_target", watched=CONFIGURING)
    assert loaded_by("core.service.encryption", "core.domain.streaming", watched=CONFIGURING) == []


def test_message_path_loads_no_heavy_library() -> None:
    if loaded_by(*MESSAGE_PATH):
        culprits = {name: loaded for name in MESSAGE_PATH if (loaded := loaded_by(name))}
        pytest.fail(f"importing these modules of the message path loads heavy libraries: {culprits}")


def test_heavy_libraries_are_seen_when_loaded() -> None:
    assert loaded_by("json") == []
    assert loaded_by("jwt", "pydantic") == ["jwt", "pydantic"]


# Each line breaks one rule: (module, source, part of what must be said about it).
BROKEN = [
    ("core.errors", "import core.service.gate", "imports core.service.gate: core.errors may import"),
    ("core.errors", "import pydantic", "imports pydantic: core.errors may use cryptography"),
    ("core.domain.message", "from core.service import gate", "imports core.service.gate: core.domain may"),
    ("core.domain.message", "from core.ports import KeyStore", "imports core.ports.KeyStore: core.domain may"),
    ("core.domain.message", "from ..ports import KeyStore", "imports core.ports.KeyStore: core.domain may"),
    ("core.domain.message", "from .. import stores", "imports core.stores: core.domain may"),
    ("core.domain.message", "from core import bootstrap", "imports core.bootstrap: core.domain may"),
    ("core.domain.message", "import pydantic", "imports pydantic: core.domain may use cryptography"),
    ("core.domain.message", "from tests import fakes", "imports tests"),
    ("core.domain.message", "import functions.models", "imports functions.models: core.domain may"),
    ("core.ports", "from core.service import gate", "imports core.service.gate: core.ports may"),
    ("core.ports", "import cryptography", "imports cryptography: core may use the standard library only"),
    (
        "core.service.gate",
        "from cryptography.hazmat.primitives import hashes",
        "imports cryptography: core may use the standard library only",
    ),
    ("core.service.gate", "from core.stores.memory import MemoryStore", "core.service may import"),
    ("core.service.gate", "from core.bootstrap import build", "core.service may import"),
    ("core.service.gate", "from core.client import Client", "core.service may import"),
    ("core.service.gate", "def f() -> None:\n    import core.stores.memory", "core.service may import"),
    ("core.service.gate", "async def f() -> None:\n    import core.stores.memory", "core.service may import"),
    (
        "core.service.gate",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from core.stores import memory",
        "core.service may import",
    ),
    ("core.service.gate", "import importlib\nimportlib.import_module('core.stores.memory')", "core.service may import"),
    (
        "core.service.gate",
        "from importlib import import_module as load\nload('core.stores.memory')",
        "core.service may import",
    ),
    ("core.service.gate", "import importlib\nimportlib.import_module('..stores', __package__)", "core.service may"),
    ("core.service.gate", "__import__('boto3')", "imports boto3"),
    ("core.service.gate", "import importlib\nn = 'x'\nimportlib.import_module(n)", "name is computed"),
    ("core.providers.local", "from core.providers.aws_kms import AwsKms", "leaves of core.providers never import"),
    ("core.providers.local", "from .aws_kms import AwsKms", "leaves of core.providers never import"),
    ("core.providers.local", "from core.stores.memory import MemoryStore", "core.providers may import"),
    ("core.providers.local", "from core.service import gate", "core.providers may import"),
    ("core.providers.local", "import boto3", "imports boto3: core.providers may use cryptography"),
    ("core.providers.aws_kms", "import boto3", "imports boto3 when it is itself imported"),
    ("core.providers.aws_kms", "def f(x=__import__('boto3')) -> None: ...", "imports boto3 when it is itself imported"),
    ("core.providers.aws_kms", "class A:\n    import botocore", "imports botocore when it is itself imported"),
    ("core.providers.aws_kms", "def f() -> None:\n    import azure.identity", "imports azure: core.providers.aws_kms"),
    ("core.stores.memory", "from core.providers import local", "core.stores may import"),
    ("core.stores.memory", "from core.stores.sqlite import SqliteStore", "leaves of core.stores never import"),
    ("core.stores.sqlite", "import cryptography", "imports cryptography: core.stores may use the standard"),
    ("core.stores", "from core.stores.memory import MemoryStore", "leaves of core.stores never import"),
    ("core.stores.dynamodb", "from botocore.config import Config", "imports botocore when it is itself imported"),
    ("core.stores.azure_tables", "from azure.data import tables", "imports azure when it is itself imported"),
    ("core.client.http", "from core.stores import memory", "core.client may import"),
    ("core.client.http", "import requests", "imports requests: core.client may use httpx"),
    ("core.bootstrap", "import boto3", "imports boto3: core may use the standard library only"),
    ("core.bootstrap", "from functions import settings", "core.bootstrap may import"),
    ("core.newcomer", "import core.errors", "core may import nothing of ours"),
    ("functions.handlers", "from core.ports import KeyStore", "functions may import"),
    ("functions.handlers", "from core.stores import memory", "functions may import"),
    ("functions.handlers", "from core.providers import local", "functions may import"),
    ("functions.handlers", "import core.domain.message, pydantic", "imports pydantic"),
    ("functions.handlers", "import starlette", "imports starlette"),
    ("functions.handlers", "import jwt", "imports jwt"),
    ("functions.handlers", "import click", "imports click"),
    ("functions.handlers", "from functions.emulators import kms", "functions may import"),
    ("functions.local.app", "from ..emulators import kms", "functions may import"),
    ("functions.local.app", "import httpx", "imports httpx"),
    ("functions.aws.app", "import azure.functions", "imports azure: functions.aws may use"),
    ("functions.azure.app", "def f() -> None:\n    import boto3", "imports boto3: functions.azure may use azure"),
    ("functions.cli.main", "import uvicorn", "imports uvicorn: functions.cli may use click, httpx"),
    ("functions.emulators.kms", "from core.service import gate", "functions.emulators may import"),
    ("functions.emulators.kms", "from functions import settings", "functions.emulators may import"),
    ("functions.handlers", "import os\nx = os.environ['A']", "reads the environment (os.environ)"),
    ("functions.cli.main", "import os\nx = os.getenv('A')", "reads the environment (os.getenv)"),
    ("functions.cli.main", "from os import environ as e", "reads the environment (os.environ)"),
    ("core.bootstrap", "import os as o\ndef f() -> object:\n    return o.environ", "reads the environment"),
    ("core.service.lease", "import time\ndef f() -> float:\n    return time.time()", "reads the clock (time.time)"),
    ("core.service.lease", "import time\ndef f(now=time.monotonic) -> None: ...", "reads the clock (time.monotonic)"),
    ("core.service.lease", "from time import monotonic_ns as now", "reads the clock (time.monotonic_ns)"),
    ("core.stores.sqlite", "import time\nx = time.clock_gettime(0)", "reads the clock (time.clock_gettime)"),
    ("core.domain.state", "from datetime import datetime, UTC\nx = datetime.now(UTC)", "datetime.datetime.now"),
    ("core.domain.state", "import datetime as dt\nx = dt.datetime.utcnow()", "datetime.datetime.utcnow"),
    ("core.domain.state", "from datetime import date\nx = date.today()", "reads the clock (datetime.date.today)"),
]

KEPT = [
    ("core.errors", "from dataclasses import dataclass"),
    ("core.domain.message", "from cryptography.hazmat.primitives import hashes\nfrom core.errors import KeysteadError"),
    ("core.domain.message", "from . import context\nfrom .context import canonical"),
    ("core.domain.key_config", "import pydantic"),
    ("core.ports", "from core.domain import keys"),
    ("core.service.gate", "from core.ports import Clock\nfrom core.service.lease import Lease\nimport threading"),
    ("core.providers.system_clock", "import time\nx = time.time()"),
    (
        "core.providers.local",
        "import cryptography\nfrom core.domain import keys\nfrom core.providers._files import read",
    ),
    ("core.providers.aws_kms", "def f() -> None:\n    import boto3"),
    (
        "core.providers.aws_kms",
        "import typing\nif typing.TYPE_CHECKING:\n    from botocore.client import BaseClient\nelse:\n    import json",
    ),
    ("core.stores.sqlite", "import sqlite3\nfrom core.stores.sqlite_tenants import Tenants"),
    ("core.stores.sqlite.rows", "from core.stores.sqlite.schema import TABLES"),
    ("core.client.http", "import httpx\nfrom core.client.tokens import Token"),
    (
        "core.bootstrap",
        "import time\nfrom core.stores import sqlite\nfrom core.providers import local\nnow = time.time",
    ),
    ("functions.settings", "import os\nx = os.environ['A']"),
    (
        "functions.handlers",
        "from core.service import gate\nfrom functions.models import X\nimport time\nt = time.time()",
    ),
    ("functions.local.app", "import starlette, uvicorn, jwt\nfrom functions import handlers"),
    ("functions.cli.main", "import click, httpx\nfrom functions.emulators import kms\nfrom core.client import Client"),
    ("functions.emulators.kms", "from core.domain import keys\nfrom functions.emulators.wire import serve"),
]


@pytest.mark.parametrize(("module", "source", "said"), BROKEN)
def test_every_broken_rule_is_reported(module: str, source: str, said: str) -> None:
    found = violations(module, source, is_package=module == "core.stores")
    assert len(found) == 1, found
    assert found[0].startswith(f"{module}:")
    assert said in found[0]


@pytest.mark.parametrize(("module", "source"), KEPT)
def test_what_is_allowed_is_not_reported(module: str, source: str) -> None:
    assert violations(module, source) == []


def test_relative_imports_of_a_package_start_at_the_package() -> None:
    assert violations("core.service", "from . import gate", is_package=True) == []
    assert violations("core.service", "from .stores import x", is_package=True) == []
    assert len(violations("core.service", "from ..stores import x", is_package=True)) == 1
