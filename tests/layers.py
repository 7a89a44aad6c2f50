"""The layer rules of the design (docs/design.md, "Layers"), read off the source with `ast`; nothing is imported.

An import counts wherever it stands: at the top, in a function, under `TYPE_CHECKING`, relative, or as
`importlib.import_module("literal")`. The tables below are the rules; a new leaf or library is one more line in them.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FIRST_PARTY = ("core", "functions")
# Modules of the standard library that only some of its versions have.
STANDARD_LIBRARY = sys.stdlib_module_names | {"_sha2", "_sha512"}

# Longest matching prefix decides which layer a module belongs to.
_BELOW = frozenset({"core.ports", "core.domain", "core.errors"})
MAY_IMPORT: Mapping[str, frozenset[str]] = {
    "core": frozenset(),
    "core.errors": frozenset({"core.domain", "core.errors"}),
    "core.domain": frozenset({"core.domain", "core.errors"}),
    "core.ports": _BELOW,
    "core.service": _BELOW | {"core.service"},
    "core.providers": _BELOW,
    "core.stores": _BELOW,
    "core.client": _BELOW | {"core.client"},
    "core.bootstrap": _BELOW | {"core.service", "core.providers", "core.stores", "core.client", "core.bootstrap"},
    "functions": frozenset(
        {"functions", "core.service", "core.bootstrap", "core.domain", "core.errors", "core.client"}
    ),
    "functions.cli": frozenset(
        {"functions", "functions.cli", "functions.emulators"}
        | {"core.service", "core.bootstrap", "core.domain", "core.errors", "core.client"}
    ),
    "functions.emulators": frozenset({"functions.emulators", "core.domain", "core.errors"}),
}
# Layers whose members are leaves: they never import one another, nor does the package import its leaves.
LEAF_LAYERS = frozenset({"core.providers", "core.stores"})

# Third-party libraries, by longest matching prefix of the module (a more exact line replaces the shorter one).
LIBRARIES: Mapping[str, frozenset[str]] = {
    "core": frozenset(),
    "core.errors": frozenset({"cryptography"}),
    "core.domain": frozenset({"cryptography"}),
    "core.domain.key_config": frozenset({"cryptography", "pydantic"}),
    "core.providers": frozenset({"cryptography"}),
    "core.providers.aws_kms": frozenset({"boto3", "botocore"}),
    "core.providers.azure_key_vault": frozenset({"azure", "cryptography", "requests", "urllib3"}),
    "core.stores": frozenset(),
    "core.stores.dynamodb": frozenset({"boto3", "botocore"}),
    "core.stores.azure_tables": frozenset({"azure"}),
    "core.client": frozenset({"httpx"}),
    "functions": frozenset(),
    "functions.models": frozenset({"pydantic"}),
    "functions.openapi": frozenset({"pydantic"}),
    "functions.identity": frozenset({"cryptography", "jwt"}),
    "functions.local": frozenset({"cryptography", "httptools", "jwt", "starlette", "uvicorn", "uvloop"}),
    "functions.cli": frozenset({"click", "httpx"}),
    "functions.aws": frozenset({"aws_lambda_powertools", "boto3", "botocore"}),
    "functions.azure": frozenset({"azure"}),
    "functions.emulators": frozenset({"botocore", "cryptography", "jwt"}),
}
# Cloud SDKs are heavy: only inside functions ("imported on first use"), or under TYPE_CHECKING.
SDKS = frozenset({"azure", "boto3", "botocore", "requests", "urllib3"})

MAY_READ_ENVIRONMENT = frozenset({"functions.settings"})
MAY_READ_CLOCK = frozenset({"core.bootstrap", "core.providers.system_clock"})
ENVIRONMENT = frozenset({"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv", "os.unsetenv"})
CLOCK = frozenset(
    [f"time.{name}{ns}" for name in ("time", "monotonic", "perf_counter", "clock_gettime") for ns in ("", "_ns")]
    + [f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")]
    + ["datetime.date.today"]
)


@dataclass(frozen=True)
class Import:
    """One imported name, dotted and absolute; `deferred` if importing the module does not import it yet."""

    target: str
    line: int
    deferred: bool


def module_name(path: Path, root: Path) -> str:
    """The dotted name of a source file: core/stores/__init__.py is core.stores."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources(root: Path) -> dict[Path, str]:
    """Every module of core/ and functions/: path -> dotted name."""
    return {path: module_name(path, root) for package in FIRST_PARTY for path in sorted((root / package).rglob("*.py"))}


def longest_prefix(name: str, table: Mapping[str, object]) -> str:
    """The entry of a table that a dotted name falls under; '' if none."""
    while name and name not in table:
        name = name.rpartition(".")[0]
    return name


class _Scan(ast.NodeVisitor):
    """Collects the imports of one module, and what every local name stands for."""

    def __init__(self, module: str, *, is_package: bool) -> None:
        self.imports: list[Import] = []
        self.uncheckable: list[int] = []
        self.references: list[tuple[str, int]] = []
        self._package = module if is_package else module.rpartition(".")[0]
        self._names: dict[str, str] = {}
        self._deferred = 0

    def _add(self, target: str, line: int) -> None:
        self.imports.append(Import(target, line, deferred=self._deferred > 0))

    def _body(self, node: ast.AST) -> None:
        self._deferred += 1
        self.generic_visit(node)
        self._deferred -= 1

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for outside in [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]:
            self.visit(outside)
        self._deferred += 1
        for statement in node.body:
            self.visit(statement)
        self._deferred -= 1

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - the names are those of ast

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._body(node)

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            self._deferred += 1
            for statement in node.body:
                self.visit(statement)
            self._deferred -= 1
            for statement in node.orelse:
                self.visit(statement)
        else:
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._add(alias.name, node.lineno)
            bound = alias.asname or alias.name.partition(".")[0]
            self._names[bound] = alias.name if alias.asname else bound

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = self._absolute(node.module or "", node.level)
        for alias in node.names:
            target = base if alias.name == "*" else f"{base}.{alias.name}"
            self._add(target, node.lineno)
            self._names[alias.asname or alias.name] = target
            self.references.append((target, node.lineno))

    def _absolute(self, name: str, level: int) -> str:
        if not level:
            return name
        package = self._package.split(".")
        return ".".join([*package[: len(package) - level + 1], *filter(None, [name])])

    def visit_Call(self, node: ast.Call) -> None:
        called = self._dotted(node.func)
        if called in {"importlib.import_module", "__import__", "importlib.__import__"}:
            name = node.args[0] if node.args else None
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                dots = len(name.value) - len(name.value.lstrip("."))
                self._add(self._absolute(name.value.lstrip("."), dots), node.lineno)
            else:
                self.uncheckable.append(node.lineno)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        dotted = self._dotted(node)
        if dotted:
            self.references.append((dotted, node.lineno))
        self.generic_visit(node)

    def _dotted(self, node: ast.expr) -> str:
        """`dt.now` -> `datetime.datetime.now` after `from datetime import datetime as dt`; '' if not a plain name."""
        if isinstance(node, ast.Name):
            return self._names.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            base = self._dotted(node.value)
            return f"{base}.{node.attr}" if base else ""
        return ""


def violations(module: str, source: str, *, is_package: bool = False) -> list[str]:
    """What a module does that its layer may not.

    Args:
        module: its dotted name, which decides its layer.
        source: its text.
        is_package: whether it is an `__init__.py`; relative imports depend on it.

    Returns:
        One line per violation, `module:line: what, and what is allowed instead`; empty if there is none.

    Raises:
        SyntaxError: the source does not parse.
    """
    scan = _Scan(module, is_package=is_package)
    scan.visit(ast.parse(source))
    found = [(line, "imports a module whose name is computed: no rule can see it") for line in scan.uncheckable]
    for item in scan.imports:
        found += [(item.line, text) for text in _import_violations(module, item)]
    for name, line in scan.references:
        if name in ENVIRONMENT and module not in MAY_READ_ENVIRONMENT:
            found.append(
                (line, f"reads the environment ({name}): only functions/settings.py does, and passes values on")
            )
        if name in CLOCK and module.startswith("core.") and module not in MAY_READ_CLOCK:
            found.append((line, f"reads the clock ({name}): take the clock that is passed in"))
    return [f"{module}:{line}: {text}" for line, text in sorted(set(found))]


def _import_violations(module: str, item: Import) -> Iterator[str]:
    top = item.target.partition(".")[0]
    if top in FIRST_PARTY:
        yield from _first_party(module, item.target)
    elif top not in STANDARD_LIBRARY:
        entry = longest_prefix(module, LIBRARIES)
        allowed = LIBRARIES[entry]
        if top not in allowed:
            yield f"imports {top}: {entry} may use {', '.join(sorted(allowed)) or 'the standard library only'}"
        elif top in SDKS and not item.deferred:
            yield f"imports {top} when it is itself imported: import SDKs in the function that first needs them"


def _first_party(module: str, target: str) -> Iterator[str]:
    own, other = longest_prefix(module, MAY_IMPORT), longest_prefix(target, MAY_IMPORT)
    if own in LEAF_LAYERS and other == own:
        if not _same_leaf(_leaf(module), _leaf(target)):
            yield f"imports {target}: leaves of {own} never import one another; only bootstrap knows them all"
    elif other not in MAY_IMPORT[own]:
        yield f"imports {target}: {own} may import {', '.join(sorted(MAY_IMPORT[own])) or 'nothing of ours'}"


def _leaf(module: str) -> str:
    return [*module.split("."), ""][2]


def _same_leaf(own: str, other: str) -> bool:
    """A leaf may be several modules (`sqlite`, `sqlite_tenants`, `sqlite/`) and share helpers whose name is private."""
    if not own or not other:
        return own == other
    return own == other or own.startswith(f"{other}_") or other.startswith(("_", f"{own}_"))
