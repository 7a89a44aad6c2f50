"""What must hold of the repository itself: nothing of one machine in it, pins by hash, promises of the Makefile."""

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = (
    "requirements.txt",
    "requirements-dev.txt",
    "requirements-tools.txt",
    "requirements-ministack.txt",
    "requirements-microburst.txt",
)

# Written so that this file does not match itself.
REGISTRY_HOSTS = re.compile(
    r"pypi[.]org|files[.]pythonhosted|npmjs[.](?:org|com)|registry[.]yarnpkg|rubygems[.]org|static[.]crates[.]io"
    r"|proxy[.]golang[.]org|deb[.]debian[.]org|repo1?[.]maven",
    re.IGNORECASE,
)
MACHINE_PATHS = re.compile(r"""(?:^|[\s"'(=`:,])/(?:wor[k]|far[m]|roo[t]|hom[e]|User[s])/[\w.]""", re.MULTILINE)


def committed_files() -> list[Path]:
    """Every file that is tracked, or would be by `git add .`."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return sorted({path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()})


def pins(requirements: str) -> dict[str, str]:
    """The pinned lines of a requirements file: name -> the whole entry, its hashes included."""
    text = "\n".join(line for line in requirements.splitlines() if not line.lstrip().startswith("#"))
    entries = re.split(r"\n(?=\S)", text.replace("\\\n", " ").strip())
    return {re.split(r"[\s=<>@;\[]", entry, maxsplit=1)[0].lower(): entry for entry in entries}


def project() -> dict[str, object]:
    loaded: dict[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return loaded


@pytest.mark.xdist_group("a-group")
def test_tests_of_a_group_are_told_so(request: pytest.FixtureRequest) -> None:
    """Versions of pytest and pytest-xdist that do not fit leave groups out silently: all is then set up per worker."""
    distributed = "PYTEST_XDIST_WORKER" in os.environ and request.config.getvalue("loadgroup")
    assert request.node.nodeid.endswith("@a-group") is bool(distributed)


@pytest.mark.parametrize(
    ("pattern", "what"),
    [(REGISTRY_HOSTS, "a package registry's host"), (MACHINE_PATHS, "a path of somebody's machine")],
    ids=["registry", "path"],
)
def test_no_file_names(pattern: re.Pattern[str], what: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {what}: {line.strip()[:120]}"
        for path in committed_files()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1)
        if pattern.search(line)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (REGISTRY_HOSTS, "--index-url https://" + "pypi" + ".org" + "/simple"),
        (REGISTRY_HOSTS, "https://" + "files.Python" + "Hosted.org" + "/packages/x.whl"),
        (REGISTRY_HOSTS, '"resolved": "https://registry.npm' + 'js.org/x"'),
        (MACHINE_PATHS, "cd /" + "work/project"),
        (MACHINE_PATHS, 'open("/' + 'home/someone/x")'),
        (MACHINE_PATHS, "/" + "root/.cache"),
    ],
)
def test_the_patterns_match_what_they_are_for(pattern: re.Pattern[str], text: str) -> None:
    assert pattern.search(text)


def test_the_patterns_leave_prose_and_routes_alone() -> None:
    assert not MACHINE_PATHS.search("GET /v1/tenants, tests/work/x, https://example.test/home/page")
    assert not REGISTRY_HOSTS.search("made by `uv pip compile`; licensed under http://www.apache.org/licenses/")


def test_no_lock_file_that_carries_registry_hosts() -> None:
    names = {path.name for path in committed_files()}
    assert not {
        name
        for name in names
        if re.fullmatch(r"uv\.lock|pylock.*\.toml|poetry\.lock|yarn\.lock|pnpm-lock\.yaml|npm-shrinkwrap\.json", name)
    }


def unpinned(package_lock: str) -> list[str]:
    """The packages of a package-lock.json that carry a download address, lack a hash, or are not from a registry."""
    packages = json.loads(package_lock)["packages"]
    return [
        name
        for name, package in packages.items()
        if name
        and (
            "resolved" in package
            or "link" in package
            or not re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", package.get("integrity", ""))
            or not re.fullmatch(r"[0-9][0-9A-Za-z.+-]*", package.get("version", ""))
        )
    ]


def test_packages_of_npm_are_pinned_by_hash_and_by_nothing_else() -> None:
    """`make` installs them with the registry that is configured, and runs no script of theirs."""
    locks = [path for path in committed_files() if path.name == "package-lock.json"]
    assert locks
    for lock in locks:
        assert json.loads(lock.read_text(encoding="utf-8"))["lockfileVersion"] == 3
        assert unpinned(lock.read_text(encoding="utf-8")) == []
        configuration = (lock.parent / ".npmrc").read_text(encoding="utf-8").split()
        assert {"ignore-scripts=true", "omit-lockfile-registry-resolved=true"} <= set(configuration)
        wanted = json.loads((lock.parent / "package.json").read_text(encoding="utf-8"))["dependencies"]
        assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())


@pytest.mark.parametrize(
    "package",
    [
        {"version": "1.0.0"},
        {"version": "1.0.0", "integrity": "sha1-AAAA"},
        {"version": "1.0.0", "integrity": f"sha512-{'A' * 86}==", "resolved": "https://registry.test/x.tgz"},
        {"version": "git+ssh://x", "integrity": f"sha512-{'A' * 86}=="},
        {"link": True},
    ],
    ids=str,
)
def test_a_loose_package_of_npm_is_seen(package: dict[str, object]) -> None:
    good = {"version": "1.0.0", "integrity": f"sha512-{'A' * 86}=="}
    lock = {"packages": {"": {"name": "x"}, "node_modules/good": good, "node_modules/bad": package}}
    assert unpinned(json.dumps(lock)) == ["node_modules/bad"]


def test_the_changelog_is_of_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (?:Unreleased|\d{4}-\d{2}-\d{2})$", changelog, re.MULTILINE)
    assert versions, "CHANGELOG.md has no line like `## [0.1.0] - 2026-01-31`"
    assert versions[0] == project()["version"]
    assert len(versions) == len(re.findall(r"^## ", changelog, re.MULTILINE)), "a heading of another shape"


@pytest.mark.parametrize("target", ["help", "run", "demo", "test", "test-unit", "check", "bench", "lock", "clean"])
def test_the_makefile_has(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:.*## \S", makefile, re.MULTILINE), f"no target {target} with a help text"
    assert re.search(rf"^\.PHONY:.*\b{target}(?:\s|$)", makefile, re.MULTILINE), f"{target} is not .PHONY"


def test_ci_runs_the_same_targets() -> None:
    run = ROOT / ".ci" / "run"
    assert run.stat().st_mode & 0o111, ".ci/run is not executable"
    assert re.search(r"^make test\b", run.read_text(encoding="utf-8"), re.MULTILINE)
    for workflow in sorted((ROOT / ".github" / "workflows").glob("*.yml")):
        text = workflow.read_text(encoding="utf-8")
        uses = re.findall(r"uses:\s*(\S+)", text)
        assert uses
        assert not [action for action in uses if not re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action)]
        assert re.search(r"^permissions: \{\}$", text, re.MULTILINE)
        assert "bash .ci/run" in text


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_requirements_are_pinned_by_hash(name: str) -> None:
    entries = pins((ROOT / name).read_text(encoding="utf-8"))
    assert entries
    loose = [
        entry[:80]
        for entry in entries.values()
        if not re.fullmatch(
            r"[\w.-]+(?:\[[\w,-]+\])?==[\w.!+]+(?:\s*;[^#]*?)?(?:\s+--hash=sha256:[0-9a-f]{64})+\s*", entry
        )
    ]
    assert not loose


def test_a_loose_pin_is_seen() -> None:
    assert pins("# made\nanyio==4.0 \\\n    --hash=sha256:ab \\\n    --hash=sha256:cd\n    # via x\nidna>=3\n") == {
        "anyio": "anyio==4.0      --hash=sha256:ab      --hash=sha256:cd",
        "idna": "idna>=3",
    }


def test_requirements_cover_the_project() -> None:
    runtime, everything = (pins((ROOT / name).read_text(encoding="utf-8")) for name in REQUIREMENTS[:2])
    wanted = project()["dependencies"]
    assert isinstance(wanted, list)
    names = {re.split(r"[\s=<>;\[]", str(line), maxsplit=1)[0].lower() for line in wanted}
    assert names
    assert names <= set(runtime), "pyproject.toml asks for what requirements.txt does not pin: make lock"
    differing = {name for name, entry in runtime.items() if everything.get(name, "").split() != entry.split()}
    assert not differing, "requirements.txt and requirements-dev.txt pin different versions: make lock"
