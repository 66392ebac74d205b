"""The command line's schema, made on the spot from the hyper-parameters of what a run builds; tyro parses it."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from envs.registry import Parameter

__all__ = ["Group", "defaults", "parse_flags", "plain"]


@dataclasses.dataclass(frozen=True)
class Group:
    """Flags that belong together.

    Attributes:
        title: in `--help`.
        parameters: name → parameter; the flag is `--prefix.name`, or `--name` for the prefix "".
    """

    title: str
    parameters: Mapping[str, Parameter]


def parse_flags(
    groups: Mapping[str, Group], args: Sequence[str], prog: str, description: str
) -> dict[str, dict[str, Any]]:
    """Parse `args`. Returns prefix → name → value.

    The Python names of the slots differ from the flags, so that `--env ipd` and `--env.horizon 50` can both exist.

    Raises:
        SystemExit: `--help` (0), or a value that is not of its type (2).
    """
    args = _bare(groups, _separated(groups, args))
    slots: list[Any] = []
    for place, (prefix, group) in enumerate(groups.items()):
        if prefix:
            slots.append((f"group_{place}", Annotated[_dataclass(group), tyro.conf.arg(name=prefix)]))
        else:
            slots += [(f"flag_{name}", *rest) for name, *rest in _fields(group)]
    parsed = tyro.cli(
        dataclasses.make_dataclass("Flags", slots, kw_only=True),
        args=args,
        prog=prog,
        description=description,
        config=(tyro.conf.FlagConversionOff,),
        use_underscores=True,
    )
    values = {}
    for place, (prefix, group) in enumerate(groups.items()):
        inner, stem = (getattr(parsed, f"group_{place}"), "") if prefix else (parsed, "flag_")
        values[prefix] = {name: getattr(inner, stem + name) for name in group.parameters}
    return values


def defaults(groups: Mapping[str, Group]) -> dict[str, Any]:
    """Flag → default; `...` where it has none."""
    return {
        f"{prefix}.{name}".lstrip("."): parameter.default
        for prefix, group in groups.items()
        for name, parameter in group.parameters.items()
    }


def plain(value: Any) -> Any:
    """A tuple of one number as the number, of several as a list, one a player."""
    if isinstance(value, tuple):
        return value[0] if len(value) == 1 else list(value)
    return value


def _bare(groups: Mapping[str, Group], args: Sequence[str]) -> list[str]:
    """`--share` alone as `--share=True`."""
    switches = _named(groups, "bool")
    ends = {place for place, arg in enumerate(args) if arg.startswith("--")} | {len(args)}
    return [f"{arg}=True" if arg in switches and place + 1 in ends else arg for place, arg in enumerate(args)]


def _named(groups: Mapping[str, Group], annotation: str) -> set[str]:
    """The flags of a type."""
    return {
        f"--{prefix}.{own.name}" if prefix else f"--{own.name}"
        for prefix, group in groups.items()
        for own in group.parameters.values()
        if own.annotation == annotation
    }


def _separated(groups: Mapping[str, Group], args: Sequence[str]) -> list[str]:
    """`--risk 0.1,0.5` as `--risk 0.1 0.5`, for flags of which each player may have one."""
    many = _named(groups, "PerPlayer")
    found: list[str] = []
    for place, arg in enumerate(args):
        flag, equals, value = arg.partition("=")
        if equals and flag in many and "," in value:
            found += [flag, *value.split(",")]
        elif place and args[place - 1] in many and "," in arg:
            found += arg.split(",")
        else:
            found.append(arg)
    return found


def _dataclass(group: Group) -> type:
    return dataclasses.make_dataclass("Group", _fields(group), kw_only=True, namespace={"__doc__": group.title})


def _fields(group: Group) -> list[Any]:
    """`(name, annotation, default)` of every parameter, without the default where it is required."""
    fields: list[Any] = []
    for name, parameter in group.parameters.items():
        kind = Annotated[_kind(parameter.annotation), tyro.conf.arg(name=name, help=parameter.help)]
        fields.append((name, kind) if parameter.default is ... else (name, kind, parameter.default))
    return fields


def _kind(annotation: str) -> Any:
    """The type behind an annotation as written in the source; a string for what no flag can hold."""
    if annotation == "bool":
        return Annotated[bool, _BOOLEAN]
    kinds = (bool, int, float, str, tuple, Path)
    names: dict[str, Any] = {kind.__name__: kind for kind in kinds} | {
        "Literal": Literal,
        "None": None,
        "PerPlayer": float | tuple[float, ...],
    }
    kind = eval(annotation, {"__builtins__": {}}, names)  # noqa: S307  our own source, not the user's
    return kind if isinstance(kind, type | types.UnionType) or hasattr(kind, "__args__") else str


def _boolean(args: Sequence[str]) -> bool:
    if args[0].lower() not in ("true", "false"):
        raise ValueError(f"{args[0]!r} is not a boolean: expected True or False")
    return args[0].lower() == "true"


_BOOLEAN = tyro.constructors.PrimitiveConstructorSpec(
    nargs=1,
    metavar="{True,False}",
    instance_from_str=_boolean,
    is_instance=lambda value: isinstance(value, bool),
    str_from_instance=lambda value: [str(value)],
)
"""`--flag=True` and `--flag=false`, as wandb sweeps write them."""
