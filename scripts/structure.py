"""Hold the package to its structure: code, functions, chains of classes, names.

Code, which has one ceiling, is lines without blank ones, comments and docstrings. Code
of folders, and long files and classes, are printed without being checked.

What breaks a rule today is in KNOWN with the reason. That list may only shrink: an
entry that breaks no rule any more is an error, too.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import token as kinds
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("lmtui")
NO_CODE = {
    kinds.COMMENT,
    kinds.DEDENT,
    kinds.ENDMARKER,
    kinds.INDENT,
    kinds.NEWLINE,
    kinds.NL,
}
CEILING = 59_566
"""Lines of code that the package has. None are added: what is new is paid for by what
leaves, and a commit that removes lines lowers this number."""
CPP_CEILING = 4_500
"""Lines of code of the kernels, in C++."""
FORECAST = {
    ("tui",): 18_000,
    ("engine",): 11_000,
    ("models", "kernels"): 8_600,
    ("cli",): 4_400,
    ("learn", "train"): 5_900,
    ("chat", "editing"): 3_100,
    ("serve", "worker", "config", "analysis", "(root)"): 5_600,
}
"""Lines of code that folders are forecast to have, printed beside those they have."""
LINES_OF_A_FUNCTION = 60
LONG_FILE = 600
"""Lines from which a file is listed. A file may be as long as its idea."""
LONG_CLASS = 600
"""Lines from which a class is listed with its bases, the framework's not counted."""
CLASSES_IN_A_CHAIN = 3
SHARE_OF_VAGUE_DOCSTRINGS = 0.01

VAGUE_NAMES = frozenset(
    [
        "keep",
        "keeper",
        "kept",
        "told",
        "tell",
        "found",
        "held",
        "beside",
        "place",
        "spot",
        "wanted",
        "going",
        "aside",
    ]
)
"""Words with too many meanings to be part of a public name."""
FIELD_NAMES = re.compile(r"held_?out|not_?found|replace", re.IGNORECASE)
"""Names of the field that have such a word in them."""
GERUNDS = frozenset(("sampling", "thinking", "token_healing", "editing", "batching"))
"""Module names in -ing that the field uses."""
VAGUE_STARTS = frozenset(
    [
        "it",
        "they",
        "there",
        "what",
        "who",
        "nothing",
        "another",
        "some",
        "its",
        "say",
        "nobody",
    ]
)
"""What no docstring of a function begins with."""

FLAGS = "one parameter for each flag"
KNOWN: dict[str, str] = {
    "lmtui/cli/chat.py:chat": FLAGS,
    "lmtui/cli/inspect/inspect.py:inspect": FLAGS,
    "lmtui/config/settings.py:ChatSettings.keep": "a key of users' config.toml",
}
"""A file, with all that is in it, or one name of it: why it breaks a rule."""


@dataclass(frozen=True)
class Class:
    """A class of the package: where it is, and the classes that it inherits from."""

    key: str
    lines: int
    bases: tuple[str, ...]


def module_of(path: Path) -> str:
    """The dotted name of a file."""
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def classes_in(path: Path, tree: ast.Module) -> Iterator[tuple[str, Class]]:
    """The classes of a file, by their dotted names; bases by theirs."""
    module = module_of(path)
    names = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
    }
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            names[node.name] = f"{module}.{node.name}"
            bases = tuple(
                names.get(ast.unparse(base).partition("[")[0], "")
                for base in node.bases
            )
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            yield names[node.name], Class(f"{path}:{node.name}", lines, bases)


def chain_of(name: str, classes: dict[str, Class]) -> set[str]:
    """A class and all of the package that it inherits from."""
    if name not in classes:
        return set()
    return {name}.union(*(chain_of(base, classes) for base in classes[name].bases))


def depth_of(name: str, classes: dict[str, Class]) -> int:
    """How many classes of the package stand in a line, this one included."""
    if name not in classes:
        return 0
    return 1 + max((depth_of(base, classes) for base in classes[name].bases), default=0)


def class_breaches(classes: dict[str, Class]) -> Iterator[tuple[str, str]]:
    """Classes that are too deep with what they inherit."""
    for name, each in classes.items():
        if (depth := depth_of(name, classes)) > CLASSES_IN_A_CHAIN:
            yield each.key, f"{depth} classes deep"


def long_classes(classes: dict[str, Class]) -> Iterator[str]:
    """The classes that are long with what they inherit, as lines to print."""
    for name, each in classes.items():
        lines = sum(classes[part].lines for part in chain_of(name, classes))
        if lines > LONG_CLASS:
            yield f"{each.key}: {lines} lines with its bases"


def documentation(tree: ast.Module) -> set[int]:
    """The lines of docstrings: of strings that stand alone."""
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def code_lines(source: str, tree: ast.Module) -> int:
    """Lines of a file without blank ones, comments and docstrings."""
    lines = source.splitlines()
    code = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
        if lines[line - 1].strip()
    }
    return len(code - documentation(tree))


def cpp_code_lines(source: str) -> int:
    """Lines of a C++ file without blank ones and comments."""
    source = re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)
    lines = (line.strip() for line in source.splitlines())
    return sum(bool(line) and not line.startswith("//") for line in lines)


def folder_lines(code: dict[Path, int]) -> Iterator[str]:
    """Code of each group of folders and of all, as lines to print."""
    folders: Counter[str] = Counter()
    for path, count in code.items():
        folders[path.parts[1] if len(path.parts) > 2 else "(root)"] += count
    for group, forecast in FORECAST.items():
        count = sum(folders[folder] for folder in group)
        yield f"{count:7,} of {forecast:,} {', '.join(group)}"
    forecast = sum(FORECAST.values())
    yield f"{folders.total():7,} of {forecast:,} all code, ceiling {CEILING:,}"


def code_breaches(code: int, cpp: int) -> Iterator[tuple[str, str]]:
    """Code above a ceiling, and a ceiling that can be lower."""
    if code > CEILING:
        yield str(ROOT), f"{code:,} lines of code, above the ceiling of {CEILING:,}"
    elif code < CEILING:
        yield str(ROOT), f"{code:,} lines of code: lower the ceiling to that"
    if cpp > CPP_CEILING:
        yield str(ROOT), f"{cpp:,} lines of C++, above the ceiling of {CPP_CEILING:,}"


def file_breaches(path: Path, tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Functions of a file that are too long, and a missing docstring."""
    if tree.body and not ast.get_docstring(tree):
        yield str(path), "no module docstring"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LINES_OF_A_FUNCTION:
                yield f"{path}:{node.name}", f"{length} lines"


def thread_breaches(path: Path, tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Questions to the engine that read a screen on the engine's thread: what is given
    to `ask` after the slot runs there."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "ask"
            and len(node.args) > 1
            and any(
                isinstance(part, ast.Name) and part.id == "self"
                for run in ast.walk(node.args[1])
                if isinstance(run, ast.Lambda)
                for part in ast.walk(run)
            )
        ):
            yield f"{path}:{node.lineno}", "a question reads `self` in another thread"


def is_vague(name: str) -> bool:
    """Whether one of the words of a name says too little."""
    parts = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower().split("_")
    return not FIELD_NAMES.search(name) and not VAGUE_NAMES.isdisjoint(parts)


def public_names(body: list[ast.stmt], owner: str = "") -> Iterator[str]:
    """The public names that a module or a class defines."""
    for node in body:
        found: list[str] = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found = [node.name]
        elif isinstance(node, ast.Assign):
            found = [each.id for each in node.targets if isinstance(each, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found = [node.target.id]
        yield from (owner + name for name in found if not name.startswith("_"))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_names(node.body, f"{node.name}.")


def name_breaches(path: Path, tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Vague public names, and modules that are named after an activity."""
    if is_vague(path.stem):
        yield str(path), "a vague module name"
    elif path.stem.endswith("ing") and path.stem not in GERUNDS:
        yield str(path), "a module name in -ing"
    for name in public_names(tree.body):
        if is_vague(name.rpartition(".")[2]):
            yield f"{path}:{name}", "a vague name"


def starts_vaguely(text: str) -> bool:
    """Whether a docstring begins with a pronoun or a question word."""
    return text.split()[0].strip("`.,:;").lower() in VAGUE_STARTS


def known(key: str) -> bool:
    """Whether a breach is on the list, by itself or with its file."""
    return key in KNOWN or key.partition(":")[0] in KNOWN


def stale(breaches: list[tuple[str, str]]) -> list[str]:
    """Entries of the list for which there is no breach."""
    broken = {part for key, _ in breaches for part in (key, key.partition(":")[0])}
    return sorted(KNOWN.keys() - broken)


def main() -> None:
    """Print sizes, and every breach that is not known; exit 1 if there is one."""
    trees: dict[Path, ast.Module] = {}
    sizes: dict[Path, int] = {}
    code: dict[Path, int] = {}
    classes: dict[str, Class] = {}
    breaches: list[tuple[str, str]] = []
    for path in sorted(ROOT.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        tree = trees[path] = ast.parse(source)
        sizes[path] = len(source.splitlines())
        code[path] = code_lines(source, tree)
        classes.update(classes_in(path, tree))
        breaches += file_breaches(path, tree)
        breaches += name_breaches(path, tree)
        breaches += thread_breaches(path, tree)
    breaches += class_breaches(classes)
    cpp = sum(
        cpp_code_lines(path.read_text(encoding="utf-8"))
        for path in ROOT.rglob("*")
        if path.suffix in {".cpp", ".h", ".hpp", ".inc"}
    )
    breaches += code_breaches(sum(code.values()), cpp)
    print(
        *folder_lines(code),
        f"{cpp:7,} of {CPP_CEILING:,} C++",
        *long_classes(classes),
        sep="\n",
    )
    for path, count in sizes.items():
        if count > LONG_FILE:
            print(f"{path}: {count} lines")
    lines = [f"{key}: {what}" for key, what in breaches if not known(key)]
    lines += [f"{key}: no breach any more: take it off" for key in stale(breaches)]

    texts = [
        text
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (text := ast.get_docstring(node))
    ]
    vague = [text.splitlines()[0] for text in texts if starts_vaguely(text)]
    if len(vague) > SHARE_OF_VAGUE_DOCSTRINGS * len(texts):
        lines.append(f"{len(vague)} of {len(texts)} docstrings begin vaguely, such as:")
        lines += [f"    {text}" for text in vague[:5]]
    print(*lines, sep="\n", end="\n" if lines else "")
    sys.exit(bool(lines))


main()
