"""Names to factories, with every hyper-parameter readable without importing the numerics.

A registry maps a public name to a :class:`Recipe`: the factory (a dataclass or a function) and the factories of
its components. The parameters of a name are the fields of all of them together, so `make("lola", learning_rate=1.0,
lookahead_rate=0.5)` finds the first in the learner and the second in its direction.

The source files are read with `ast`, never imported, so that `--help` and `list` stay instant and the fields of the
dataclasses remain the only schema there is.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["Parameter", "Recipe", "Registry", "did_you_mean", "read_parameters"]


@dataclass(frozen=True)
class Parameter:
    """One hyper-parameter: `annotation` and `default` as written in the source, `help` from the docstring."""

    name: str
    annotation: str
    default: Any
    help: str


@dataclass(frozen=True)
class Recipe:
    """How a name is built.

    Attributes:
        factory: `"module:attribute"` of a dataclass or function.
        components: parameter of the factory → `"module:attribute"` of what fills it; "a.b" fills the parameter b of
            the component that fills a.
        spread: the component that returns a mapping of several of the factory's parameters.
        described_by: whose docstring describes the name; `spread` or the factory by default.
        about: line and source that replace that description.
        preset: parameters whose default differs from the one in the source.
        fixed: parameters that make the name what it is, and so are none of its own.
        tags: what else is to be known of it without importing it.
    """

    factory: str
    components: dict[str, str] = field(default_factory=dict)
    spread: str | None = None
    described_by: str | None = None
    about: tuple[str, str] | None = None
    preset: dict[str, Any] = field(default_factory=dict)
    fixed: dict[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()

    @property
    def sources(self) -> dict[str, str]:
        """Slot → `"module:attribute"`: "" for the factory, the components' own, "*" for the spread one."""
        return {"": self.factory, **self.components, **({"*": self.spread} if self.spread else {})}


class Registry:
    """The names of one kind of thing, and how to build each."""

    def __init__(self, kind: str, recipes: dict[str, Recipe]):
        self.kind = kind
        self._recipes = dict(recipes)

    def names(self) -> list[str]:
        """All registered names, in the order of registration."""
        return list(self._recipes)

    def tags(self, name: str) -> tuple[str, ...]:
        """The tags of `name`; raises as `parameters`."""
        return self._recipe(name).tags

    def parameters(self, name: str) -> dict[str, Parameter]:
        """The hyper-parameters of `name`, without importing what they belong to.

        Raises:
            ValueError: `name` is not registered; the message suggests the nearest name.
        """
        recipe = self._recipe(name)
        found: dict[str, Parameter] = {}
        for slot, source in recipe.sources.items():
            for parameter in read_parameters(source):
                filled = parameter.name in _below(recipe.components, slot)
                if not filled and parameter.name not in _spread_names(recipe, source):
                    found.setdefault(parameter.name, parameter)
        for key, value in recipe.preset.items():
            found[key] = replace(found[key], default=value)
        return {key: parameter for key, parameter in found.items() if key not in recipe.fixed}

    def describe(self, name: str) -> tuple[str, str]:
        """First line and reference of the docstring that describes `name`."""
        recipe = self._recipe(name)
        if recipe.about:
            return recipe.about
        doc = ast.get_docstring(_definition(recipe.described_by or recipe.spread or recipe.factory)) or ""
        reference = re.search(r"^Source: (.+?)(?:\n\s*\n|\Z)", doc, re.S | re.M)
        return doc.split("\n")[0], " ".join(reference.group(1).split()).rstrip(".") if reference else ""

    def make(self, name: str, **values: Any) -> Any:
        """Build `name` with `values` for its parameters, defaults for the rest.

        Raises:
            ValueError: unknown name or parameter, or a value that the factory refuses.
        """
        recipe, known = self._recipe(name), self.parameters(name)
        for key in values:
            if key not in known:
                raise ValueError(f"{self.kind} {name!r} has no parameter {key!r}{did_you_mean(key, known)}")
        values = {**recipe.preset, **values, **recipe.fixed}

        def build(slot: str, source: str, **filled: Any) -> Any:
            parts = {
                name: build(inner, recipe.components[inner]) for name, inner in _below(recipe.components, slot).items()
            }
            parts |= filled
            mine = [p.name for p in read_parameters(source) if p.name in values and p.name not in parts]
            return _load(source)(**{name: values[name] for name in mine}, **parts)

        return build("", recipe.factory, **(build("*", recipe.spread) if recipe.spread else {}))

    def _recipe(self, name: str) -> Recipe:
        if name not in self._recipes:
            raise ValueError(f"unknown {self.kind} {name!r}{did_you_mean(name, self._recipes)}")
        return self._recipes[name]


LISTED = 48
"""Words of a list in a message."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`: did you mean 'x'?` with the nearest known word, or the list of known words, unless they are too many."""
    known = sorted(set(known))
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f": did you mean {near[0]!r}?"
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    return f"; known: {', '.join(known[:LISTED])}{more}"


@cache
def read_parameters(source: str) -> tuple[Parameter, ...]:
    """The fields of the dataclass, or arguments of the function, `"module:attribute"`; the module is not imported.

    Fields of its base classes, where those come from the same package, are before its own.
    """
    node = _definition(source)
    inherited: dict[str, Parameter] = {}
    if isinstance(node, ast.ClassDef):
        for base in _bases(source, node):
            inherited |= {parameter.name: parameter for parameter in read_parameters(base)}
        pairs = [
            (s.target.id, s.annotation, s.value)
            for s in node.body
            if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)
        ]
        pairs = [p for p in pairs if not ast.unparse(p[1]).startswith("ClassVar")]
    else:
        required = len(node.args.args) - len(node.args.defaults)
        defaults = [None] * required + list(node.args.defaults)
        pairs = [(a.arg, a.annotation, d) for a, d in zip(node.args.args, defaults, strict=True)]
    helps = _attribute_help(ast.get_docstring(node) or "")
    for name, kind, value in pairs:
        text = helps.get(name) or (inherited[name].help if name in inherited else "")
        inherited[name] = Parameter(name, ast.unparse(kind) if kind else "str", _default(value), text)
    return tuple(inherited.values())


def _bases(source: str, node: ast.ClassDef) -> list[str]:
    """`"module:attribute"` of base classes that are imported by name from the same top-level package."""
    module = source.split(":")[0]
    root = module.partition(".")[0]
    found = []
    for statement in _tree(module).body:
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").partition(".")[0] == root:
            found += [(alias.asname or alias.name, f"{statement.module}:{alias.name}") for alias in statement.names]
        elif isinstance(statement, ast.ClassDef):
            found.append((statement.name, f"{module}:{statement.name}"))
    known = dict(found)
    names = [base.id for base in node.bases if isinstance(base, ast.Name)]
    return [known[name] for name in names if name in known]


def _below(components: dict[str, str], slot: str) -> dict[str, str]:
    """Parameters of what is in `slot` ("" for the factory) that components fill → their slots."""
    return {inner.rpartition(".")[2]: inner for inner in components if inner.rpartition(".")[0] == slot}


def _spread_names(recipe: Recipe, source: str) -> tuple[str, ...]:
    """Parameters of the factory without a default, when a spread component provides them."""
    if recipe.spread is None or source != recipe.factory:
        return ()
    return tuple(p.name for p in read_parameters(source) if p.default is ...)


def _load(source: str) -> Any:
    module, attribute = source.split(":")
    return getattr(importlib.import_module(module), attribute)


@cache
def _definition(source: str) -> ast.ClassDef | ast.FunctionDef:
    module, attribute = source.split(":")
    for node in _tree(module).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == attribute:
            return node
    raise AttributeError(f"{module} defines no {attribute}")


@cache
def _tree(module: str) -> ast.Module:
    root, _, rest = module.partition(".")
    spec = importlib.util.find_spec(root)  # of the top-level package only: never imports it
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"no package {root!r} to read {module} from")
    path = Path(spec.origin).parent.joinpath(*rest.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


def _default(value: ast.expr | None) -> Any:
    """The literal default of a field: `x`, `field(default=x)`, or `...` when it has none."""
    if isinstance(value, ast.Call):
        value = next((k.value for k in value.keywords if k.arg == "default"), None)
    if value is None:
        return ...
    try:
        return ast.literal_eval(value)
    except ValueError as error:
        raise ValueError(f"the default `{ast.unparse(value)}` of a hyper-parameter is not a literal") from error


def _attribute_help(doc: str) -> dict[str, str]:
    """The `Attributes:` or `Args:` section of a Google-style docstring, as a mapping."""
    section = re.search(r"^(?:Attributes|Args):\n((?:[ \t]+.*\n?|\n)+)", doc, re.M)
    if not section:
        return {}
    entries = re.findall(r"^    (\w+): (.+(?:\n {8,}.+)*)", section.group(1), re.M)
    return {name: " ".join(text.split()) for name, text in entries}
