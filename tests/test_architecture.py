"""The rules of the house, held by reading the source: who may import whom, how large things may grow, what is banned.

Each rule is one test that lists its offenders as `file:line`. A rule applies to whatever exists; a new module directly
in `converter/` counts as a use-case until it is named among the outer modules below. Exceptions stand in the
constants, each with its reason, so that making one is a visible decision.
"""

from __future__ import annotations

import ast
import functools
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent

MODULE_LINES = 300
SERVICE_MODULE_LINES = 250
FUNCTION_LINES = 40
FUNCTION_LINES_P90 = 20
PUBLIC_METHODS = 10
PARAMETERS = 5

OUTER_MODULES = {
    "__init__",
    "announcing",
    "bootstrap",
    "client",
    "enqueue",
    "equipping",
    "own_settings",
    "settings",
    "settings_faces",
    "settings_types",
    "sharing",
}
"""Modules directly in `converter/` that are no use-cases."""

SERVICE_TOOLS = {"__init__", "base", "callbacks", "lists"}
"""Modules of `converter/services/` that are no service."""

EXACT_MODULES = {"money", "quotes", "orders", "conversions", "routing"}
"""Modules of `converter/domain/` that handle amounts."""

USE_CASE_LIBRARIES: dict[str, str] = {}
"""Libraries that a use-case may know, and why."""

BROAD_EXCEPT_ALLOWED: dict[str, str] = {
    "converter/following.py": "a ledger that is away for a moment may not stop those who listen",
    "converter/listening.py": "a broken handler may not stop the others",
    "converter/sandbox/": "a broken twin must answer and be seen, not take the other twins down",
}
"""Where `except Exception` is right: a file or a folder, and why."""

WIDE_SIGNATURES: dict[str, str] = {
    "converter/transport/http.py:HttpClient.send": "an HTTP request has that many parts, and the call names them",
}
"""Functions with more parameters than the budget, and why."""

LARGE_CLASSES: dict[str, str] = {}
"""Classes with more public methods than the budget, and why."""

ABSTRACT_ERRORS = {"ConverterError", "ServiceError"}
"""Errors that are only caught, never raised."""


# --- Reading the source ----------------------------------------------------------------------------------------------


class Module(NamedTuple):
    """One source file: its path from the root, its dotted name and its syntax tree."""

    path: str
    name: str
    tree: ast.Module
    lines: int

    def within(self, *places: str) -> bool:
        return any(self.path == place or (place.endswith("/") and self.path.startswith(place)) for place in places)


class Import(NamedTuple):
    """One imported module, as precisely as the statement tells."""

    module: Module
    line: int
    target: str

    def of(self, *packages: str) -> bool:
        return any(self.target == package or self.target.startswith(package + ".") for package in packages)

    @property
    def ours(self) -> bool:
        return self.of("converter", "workers", "beat_schedule", "tests")

    @property
    def outside(self) -> bool:
        return not self.ours and self.target.partition(".")[0] not in sys.stdlib_module_names

    def __str__(self) -> str:
        return f"{self.module.path}:{self.line} imports {self.target}"


@functools.cache
def product() -> tuple[Module, ...]:
    files = [ROOT / "beat_schedule.py", *(ROOT / "converter").rglob("*.py"), *(ROOT / "workers").rglob("*.py")]
    return tuple(read(path) for path in sorted(files) if path.exists())


def read(path: Path) -> Module:
    relative = path.relative_to(ROOT)
    parts = relative.with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    text = path.read_text(encoding="utf-8")
    return Module(relative.as_posix(), name, ast.parse(text, str(path)), len(text.splitlines()))


def modules(*places: str) -> Iterator[Module]:
    return (module for module in product() if module.within(*places))


def use_cases() -> list[Module]:
    top = [module for module in modules("converter/") if module.path.count("/") == 1]
    return [module for module in top if Path(module.path).stem not in OUTER_MODULES]


def service_modules() -> list[Module]:
    return [
        module
        for module in modules("converter/services/")
        if module.path.count("/") > 2 or Path(module.path).stem not in SERVICE_TOOLS
    ]


def service_of(module: Module) -> str:
    """The service that a module of `converter/services/` belongs to: `kraken.py`, `kraken_orders.py`, `kraken/`."""
    return Path(module.path).parts[2].removesuffix(".py").partition("_")[0]


def service_ids() -> set[str]:
    return {service_of(module) for module in service_modules()}


def imports(module: Module) -> Iterator[Import]:
    """All imports, wherever they stand. `from package import module` counts as the module where there is one."""
    known = {other.name for other in product()}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = absolute(module, node)
            for alias in node.names:
                deeper = f"{base}.{alias.name}"
                yield Import(module, node.lineno, deeper if deeper in known else base)


def absolute(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = module.name.split(".")
    up = node.level - 1 if module.path.endswith("__init__.py") else node.level
    return ".".join([*package[: len(package) - up], *([node.module] if node.module else [])])


def functions(module: Module) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef, bool]]:
    """All functions with their qualified names, and whether they are methods."""

    def walk(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{prefix}{child.name}", child, isinstance(node, ast.ClassDef)
            named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            yield from walk(child, f"{prefix}{child.name}." if named else prefix)  # type: ignore[attr-defined]

    return walk(module.tree, "")


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def dotted(node: ast.AST) -> str:
    """`a.b.c` of an attribute chain, or the empty string."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (base := dotted(node.value)):
        return f"{base}.{node.attr}"
    return ""


def uses(module: Module, names: Iterable[str]) -> Iterator[str]:
    """Where one of these dotted names is used or imported, under whatever name it or its module goes here."""
    wanted = set(names)
    known_as: dict[str, str] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            source = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            known_as |= {alias.asname: source + alias.name for alias in node.names if alias.asname}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute):
            first, _, rest = dotted(node).partition(".")
            found = [f"{known_as.get(first, first)}.{rest}"]
        elif isinstance(node, ast.ImportFrom):
            found = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in found:
            if name in wanted or any(name.endswith(f".{suffix}") for suffix in wanted):
                yield f"{module.path}:{node.lineno} uses {name}"


def docstrings(tree: ast.Module) -> set[int]:
    """The ids of all strings that stand alone as a statement: docstrings, of attributes too."""
    return {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }


def foreign(layer: Iterable[Module], allowed: Callable[[Import], bool]) -> list[Import]:
    return [found for module in layer for found in imports(module) if found.ours and not allowed(found)]


def none_of(offenders: Iterable[object], rule: str) -> None:
    found = sorted({str(offender) for offender in offenders})
    assert not found, f"{rule}\n  " + "\n  ".join(found)


# --- Who may import whom ---------------------------------------------------------------------------------------------


def test_the_beat_schedule_imports_nothing_of_ours() -> None:
    none_of(foreign(modules("beat_schedule.py"), lambda _: False), "beat_schedule.py is a plain dict")


def test_the_domain_imports_only_the_standard_library_and_itself() -> None:
    layer = list(modules("converter/domain/"))
    outside = [found for module in layer for found in imports(module) if found.outside]
    none_of([*outside, *foreign(layer, lambda found: found.of("converter.domain"))], "the domain is pure")


def test_the_ports_import_only_the_domain() -> None:
    layer = list(modules("converter/ports/"))
    outside = [found for module in layer for found in imports(module) if found.outside]
    none_of(
        [*outside, *foreign(layer, lambda found: found.of("converter.domain", "converter.ports"))],
        "ports name domain types only",
    )


def test_use_cases_import_only_ports_domain_and_each_other() -> None:
    layer = use_cases()
    names = [module.name for module in layer]
    outside = [
        found
        for module in layer
        for found in imports(module)
        if found.outside and f"{module.path} imports {found.target}" not in USE_CASE_LIBRARIES
    ]
    wrong = foreign(layer, lambda found: found.of("converter.ports", "converter.domain", *names))
    none_of([*outside, *wrong], "a use-case reaches the outside through ports alone (and needs no library for that)")


def test_outer_parts_import_only_ports_domain_and_their_own_package() -> None:
    offenders: list[Import] = []
    shared = ("converter.ports", "converter.domain", "converter.transport")
    talking = ("services", "wallets", "carriers")
    for part in (*talking, "ledger", "shared_state", "transport"):
        allowed = (*shared, f"converter.{part}") if part in talking else (*shared[:2], f"converter.{part}")
        allowed += ("converter.security.webhooks",) if part == "carriers" else ()
        offenders += foreign(modules(f"converter/{part}/"), lambda found, allowed=allowed: found.of(*allowed))  # type: ignore[misc]
    none_of(offenders, "services, wallets, ledger and shared_state do not know each other nor the use-cases")


def test_no_service_imports_another_service() -> None:
    owners = {module.name: service_of(module) for module in service_modules()}
    offenders = [
        found
        for module in modules("converter/services/")
        if module.path != "converter/services/__init__.py"
        for found in imports(module)
        if found.target == "converter.services"
        or (found.target in owners and owners[found.target] != owners.get(module.name))
    ]
    none_of(offenders, "a service knows its own modules and the common base; only the registry knows all")


def test_workers_name_no_implementation() -> None:
    wiring = [f"converter.{name}" for name in ("bootstrap", "enqueue", "settings", "ports", "domain")]
    allowed = ("workers", "beat_schedule", *wiring, *(module.name for module in use_cases()))
    none_of(
        foreign(modules("workers/"), lambda found: found.of(*allowed)),
        "workers get every implementation from converter.bootstrap",
    )


def test_only_the_edges_import_celery() -> None:
    allowed = ("converter/enqueue.py", "converter/cli/", "converter/local/", "workers/")
    offenders = [
        found
        for module in product()
        if not module.within(*allowed)
        for found in imports(module)
        if found.of("celery", "kombu", "billiard")
    ]
    none_of(offenders, f"Celery is known to {', '.join(allowed)} alone")


def test_the_sandbox_imports_nothing_that_it_is_there_to_test() -> None:
    banned = [f"converter.{part}" for part in ("services", "wallets", "ledger", "bootstrap")]
    offenders = [found for module in modules("converter/sandbox/") for found in imports(module) if found.of(*banned)]
    none_of(offenders, "a twin that shares code with its client repeats the client's mistakes")


# --- What is banned --------------------------------------------------------------------------------------------------


def test_only_the_edges_read_the_environment() -> None:
    allowed = ("converter/settings.py", "converter/local/", "converter/cli/", "converter/security/")
    names = ("os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv")
    offenders = [use for module in product() if not module.within(*allowed) for use in uses(module, names)]
    none_of(offenders, f"the environment is read in {', '.join(allowed)} alone")


def test_the_domain_has_no_clock_no_chance_and_no_system() -> None:
    clock = ("datetime.now", "datetime.utcnow", "datetime.today", "date.today")
    time = ("time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.sleep")
    layer = list(modules("converter/domain/"))
    offenders: list[object] = [use for module in layer for use in uses(module, (*clock, *time))]
    offenders += [
        found
        for module in layer
        for found in imports(module)
        if found.of("random", "os", "uuid", "secrets", "socket", "subprocess", "threading", "asyncio", "pathlib")
    ]
    none_of(offenders, "time and chance come into the domain as arguments")


def test_nothing_sleeps() -> None:
    allowed = ("converter/local/", "converter/cli/", "converter/sandbox/")
    names = ("time.sleep", "asyncio.sleep", "gevent.sleep")
    offenders = [use for module in product() if not module.within(*allowed) for use in uses(module, names)]
    none_of(offenders, "waiting is a due time in the ledger and a sweep")


def test_amounts_are_never_floats() -> None:
    offenders: list[str] = []
    for module in modules(*(f"converter/domain/{name}.py" for name in EXACT_MODULES)):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, float):
                offenders.append(f"{module.path}:{node.lineno} has the literal {node.value}")
            elif isinstance(node, ast.Call) and dotted(node.func) == "float":
                offenders.append(f"{module.path}:{node.lineno} calls float()")
    none_of(offenders, 'money is Decimal: write Decimal("0.1")')


def test_no_handler_catches_everything() -> None:
    offenders: list[str] = []
    for module in modules("converter/"):
        if module.within(*BROAD_EXCEPT_ALLOWED):
            continue
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            names = {dotted(kind).rpartition(".")[2] if kind else "everything" for kind in caught}
            broad = names & {"everything", "Exception", "BaseException"}
            offenders += [f"{module.path}:{node.lineno} catches {name}" for name in broad]
    none_of(offenders, "name the errors that are expected; what nobody expected is an unknown outcome, not a branch")


def test_a_service_is_named_only_where_it_lives() -> None:
    everywhere = (
        "converter/services/__init__.py",
        "converter/sandbox/",
        "converter/settings.py",
        "converter/cli/demo.py",
    )
    offenders: list[str] = []
    for name in service_ids():
        word = re.compile(rf"\b{re.escape(name)}\b")
        home = {module.path for module in service_modules() if service_of(module) == name}
        for module in product():
            if module.path in home or module.within(*everywhere):
                continue
            prose = docstrings(module.tree)
            offenders += [
                f"{module.path}:{node.lineno} names {name}"
                for node in ast.walk(module.tree)
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and word.search(node.value)
                if id(node) not in prose
            ]
    none_of(offenders, "adding or removing a service must not touch the rest")


# --- Budgets ---------------------------------------------------------------------------------------------------------


def budgeted() -> list[Module]:
    return [module for module in product() if not module.within("converter/ledger/migrations/")]


def test_modules_are_short() -> None:
    services = set(service_modules())
    offenders = [
        f"{module.path}:1 has {module.lines} lines"
        for module in budgeted()
        if module.lines > (SERVICE_MODULE_LINES if module in services else MODULE_LINES)
    ]
    none_of(offenders, f"a module has at most {MODULE_LINES} lines, a service at most {SERVICE_MODULE_LINES}")


def test_functions_are_short() -> None:
    offenders = [
        f"{module.path}:{function.lineno} {name} has {length(function)} lines"
        for module in budgeted()
        for name, function, _ in functions(module)
        if length(function) > FUNCTION_LINES
    ]
    none_of(offenders, f"a function has at most {FUNCTION_LINES} lines")


def test_most_functions_are_very_short() -> None:
    sizes = sorted(
        (length(function), f"{module.path}:{function.lineno} {name}")
        for module in budgeted()
        for name, function, _ in functions(module)
    )
    if not sizes:
        return
    limit, _ = sizes[math.ceil(len(sizes) * 0.9) - 1]
    longest = "\n  ".join(f"{place} has {size} lines" for size, place in sizes[-20:])
    assert limit <= FUNCTION_LINES_P90, (
        f"nine functions in ten have at most {FUNCTION_LINES_P90} lines; now it is {limit}. The longest:\n  {longest}"
    )


def test_classes_have_few_public_methods() -> None:
    offenders: list[str] = []
    for module in budgeted():
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.ClassDef) or f"{module.path}:{node.name}" in LARGE_CLASSES:
                continue
            methods = {
                child.name
                for child in node.body
                if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
                and not child.name.startswith("_")
                and not any(dotted(mark).endswith(("property", ".setter")) for mark in child.decorator_list)
            }
            if len(methods) > PUBLIC_METHODS:
                offenders.append(f"{module.path}:{node.lineno} {node.name} has {len(methods)} public methods")
    none_of(offenders, f"a class has at most {PUBLIC_METHODS} public methods")


def test_functions_take_few_parameters() -> None:
    offenders: list[str] = []
    for module in budgeted():
        for name, function, is_method in functions(module):
            given = function.args
            names = [parameter.arg for parameter in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            if is_method and names[:1] in (["self"], ["cls"]):
                names = names[1:]
            if len(names) > PARAMETERS and f"{module.path}:{name}" not in WIDE_SIGNATURES:
                offenders.append(f"{module.path}:{function.lineno} {name} takes {len(names)} parameters")
    none_of(offenders, f"a function takes at most {PARAMETERS} parameters")


# --- Names and texts -------------------------------------------------------------------------------------------------


def test_public_names_are_sorted() -> None:
    offenders: list[str] = []
    for module in product():
        for node in module.tree.body if module.path.endswith("__init__.py") else []:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
                names = ast.literal_eval(node.value)  # type: ignore[attr-defined]
                if list(names) != sorted(names):
                    offenders.append(f"{module.path}:{node.lineno} wants {sorted(names)}")
    none_of(offenders, "__all__ is sorted")


def test_every_error_says_when_it_is_raised() -> None:
    offenders: list[str] = []
    for module in modules("converter/domain/errors.py"):
        errors = {"Exception"}
        for node in module.tree.body:
            if not isinstance(node, ast.ClassDef) or not errors & {dotted(base) for base in node.bases}:
                continue
            errors.add(node.name)
            text = ast.get_docstring(node) or ""
            if node.name not in ABSTRACT_ERRORS and not text.startswith("Raised when"):
                offenders.append(f"{module.path}:{node.lineno} {node.name}: {text[:40]!r}")
    none_of(offenders, 'the docstring of a concrete error starts with "Raised when"')


def test_the_exceptions_to_the_rules_are_still_needed() -> None:
    names = {f"{module.path}:{name}" for module in product() for name, _, _ in functions(module)}
    classes = {
        f"{module.path}:{node.name}"
        for module in product()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    }
    gone = [f"{name}: no such function" for name in WIDE_SIGNATURES if name not in names]
    gone += [f"{name}: no such class" for name in LARGE_CLASSES if name not in classes]
    gone += [f"{place}: no such place" for place in BROAD_EXCEPT_ALLOWED if not (ROOT / place).exists()]
    none_of(gone, "an exception whose reason is gone is taken back")
