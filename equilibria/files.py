"""Games from names, files, arrays, other libraries and environments; and games as files."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from envs.registry import did_you_mean
from equilibria.game import NormalForm, normal_form

__all__ = ["load", "write"]

SUFFIXES = (".json", ".npz", ".nfg")


def load(source: Any) -> NormalForm:
    """A game, its payoffs in double precision, whatever precision JAX has.

    Args:
        source: a game as it is; a name of the catalogue; a path of a .json, .npz or .nfg (Gambit) file; payoffs
            `[n, A1, ..., An]`; two matrices; a matrix or tensor game of OpenSpiel; or an environment, of which the game
            is a single step: what everybody gets for each joint action at first.

    Raises:
        ValueError: none of these; the message says why.
    """
    if isinstance(source, NormalForm):
        return source
    if isinstance(source, str | Path):
        from equilibria.catalogue import CATALOGUE

        if entry := CATALOGUE.get(str(source)):
            return normal_form(entry.payoffs, name=str(source), actions=entry.actions)
        path = Path(source)
        if path.suffix not in SUFFIXES and (path.suffix or path.exists()):
            raise ValueError(f"game file {str(source)!r}: expected one of {', '.join(SUFFIXES)}")
        if path.suffix not in SUFFIXES:
            raise ValueError(
                f"unknown game {str(source)!r}{did_you_mean(str(source), CATALOGUE)}; or a .json, .npz or .nfg file"
            )
        return _read(path)
    if hasattr(source, "player_utility") or hasattr(source, "row_utility"):
        return _openspiel(source)
    if hasattr(source, "reset") and hasattr(source, "step"):
        return _environment(source)
    if isinstance(source, tuple | list) and any(isinstance(own, NormalForm | str | Path) for own in source):
        raise ValueError(f"a list of {len(source)} games: expected one; solve_batch solves many")
    if isinstance(source, tuple | list) and len(source) == 2:
        shapes = [np.shape(own) for own in source]
        if shapes[0] != shapes[1]:
            raise ValueError(f"two matrices of shapes {shapes[0]} and {shapes[1]}: expected one shape")
    return normal_form(source)


def _read(path: Path) -> NormalForm:
    try:
        text = "" if path.suffix == ".npz" else path.read_text(encoding="utf-8")
        if path.suffix == ".nfg":
            return _gambit(text)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                data = {name: arrays[name] for name in arrays.files}
        else:
            data = json.loads(text)
        data = data if isinstance(data, dict) else {"payoffs": data}
        if unknown := set(data) - {"payoffs", "actions", "mask", "name"}:
            raise ValueError(f"unknown key {sorted(unknown)[0]!r}; known: actions, mask, name, payoffs")
        actions = [list(map(str, own)) for own in data.get("actions", ())]
        return normal_form(data["payoffs"], data.get("mask"), str(data.get("name", path.stem)), actions)
    except OSError as error:
        raise ValueError(f"game in {str(path)!r}: {error.strerror or error}") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"game in {str(path)!r}: not valid JSON: {error}") from error
    except (ValueError, KeyError, TypeError, IndexError, ArithmeticError) as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(f"game in {str(path)!r}: {kind}{error}") from error


def write(game: NormalForm, path: str | Path) -> None:
    """Write a game as .json, .npz or .nfg; reading it again gives the same numbers.

    Raises:
        ValueError: another suffix, or actions that are masked between others, which .nfg has no place for.
    """
    path = Path(path)
    table, sizes = _cut(game)
    if path.suffix == ".json":
        data = {"name": game.name, "payoffs": table.tolist(), "actions": [list(own) for own in game.actions]}
        path.write_text(json.dumps({key: value for key, value in data.items() if value}, indent=1), encoding="utf-8")
    elif path.suffix == ".npz":
        np.savez(path, payoffs=table, name=np.array(game.name))
    elif path.suffix == ".nfg":
        names = game.actions or tuple(tuple(map(str, range(size))) for size in sizes)
        quote = lambda text: '"' + str(text).replace("\\", "\\\\").replace('"', '\\"') + '"'  # noqa: E731
        players = " ".join(quote(k + 1) for k in range(len(sizes)))
        strategies = "\n".join("{ " + " ".join(map(quote, own)) + " }" for own in names)
        order = np.moveaxis(table, 0, -1).reshape(-1, len(sizes), order="F")  # the first player's actions fastest
        payoffs = " ".join(repr(float(number)) for number in order.ravel())
        path.write_text(
            f"NFG 1 R {quote(game.name)} {{ {players} }}\n\n{{ {strategies}\n}}\n\n{payoffs}\n", encoding="utf-8"
        )
    else:
        raise ValueError(f"path = {str(path)!r}: expected a suffix of {', '.join(SUFFIXES)}")


def _cut(game: NormalForm) -> tuple[np.ndarray, tuple[int, ...]]:
    """Payoffs without padding."""
    mask = np.asarray(game.mask)
    sizes = game.sizes
    if any(own[size:].any() for own, size in zip(mask, sizes, strict=True)):
        raise ValueError("mask: some action in between is masked, which no file has a place for; cut it out first")
    return np.asarray(game.payoffs, np.float64)[(slice(None), *(slice(size) for size in sizes))], sizes


TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}]|[^\s{}",]+')


def _gambit(text: str) -> NormalForm:
    """A game in Gambit's .nfg format, with payoffs or outcomes, and numbers or names of strategies."""
    tokens = TOKEN.findall(text)
    if tokens[:2] != ["NFG", "1"] or len(tokens) < 4:
        raise ValueError("expected a file that starts with NFG 1 R")
    place = 3
    title, place = _quoted(tokens[place]), place + 1
    players, place = _braced(tokens, place)
    strategies, place = _braced(tokens, place)
    n = len(players)
    named = bool(strategies) and isinstance(strategies[0], list)
    sizes = [len(own) for own in strategies] if named else [int(own) for own in strategies]
    if len(sizes) != n or min(sizes, default=0) < 1:
        raise ValueError(f"{n} players with {sizes} strategies: expected one or more for each")
    if place < len(tokens) and tokens[place].startswith('"'):
        place += 1  # a comment
    outcomes = None
    if place < len(tokens) and tokens[place] == "{":
        outcomes, place = _braced(tokens, place)
    flat = _paid(tokens[place:], outcomes, int(np.prod(sizes)), n)
    table = np.stack([flat[:, i].reshape(sizes, order="F") for i in range(n)])
    return normal_form(table, None, title, [[_quoted(a) for a in own] for own in strategies] if named else ())


def _paid(tokens: list[str], outcomes: Any, cells: int, n: int) -> np.ndarray:
    """Payoffs `[cells, n]`: the numbers there are, or those of numbered outcomes, of which 0 pays nothing."""
    number = lambda own: float(Fraction(own)) if "/" in own else float(own)  # noqa: E731
    if outcomes is None:
        if len(tokens) != cells * n:
            raise ValueError(f"{len(tokens)} payoffs, expected {cells} x {n}")
        return np.array([number(own) for own in tokens]).reshape(cells, n)
    if any(len(one) != n + 1 for one in outcomes):
        raise ValueError(f"outcomes: expected a name and {n} payoffs for each")
    if len(tokens) != cells:
        raise ValueError(f"{len(tokens)} numbers of outcomes, expected {cells}")
    paid, chosen = [[0.0] * n] + [[number(own) for own in one[1:]] for one in outcomes], [int(own) for own in tokens]
    for own in chosen:
        if not 0 <= own < len(paid):
            raise ValueError(f"outcome {own}: expected a number from 0 to {len(paid) - 1}")
    return np.array(paid)[chosen]


def _braced(tokens: list[str], place: int) -> tuple[list[Any], int]:
    """What stands in braces from `place` on, and where it ends."""
    if tokens[place] != "{":
        raise ValueError(f"expected {{, found {tokens[place]!r}")
    found, place = [], place + 1
    while tokens[place] != "}":
        if tokens[place] == "{":
            inner, place = _braced(tokens, place)
            found.append(inner)
        else:
            found.append(tokens[place])
            place += 1
    return found, place + 1


def _quoted(token: str) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1]) if token.startswith('"') else token


def _openspiel(source: Any) -> NormalForm:
    """A matrix or tensor game of OpenSpiel."""
    if hasattr(source, "row_utility"):
        shape = source.num_rows(), source.num_cols()
        each = [source.row_utility, source.col_utility]
        return normal_form([[[own(r, c) for c in range(shape[1])] for r in range(shape[0])] for own in each])
    shape = tuple(source.shape())
    table = np.zeros((len(shape), *shape))
    for place in np.ndindex(table.shape):
        table[place] = source.player_utility(place[0], list(place[1:]))
    return normal_form(table)


def _environment(env: Any) -> NormalForm:
    """One step of an environment."""
    import jax
    import jax.numpy as jnp

    n, size = env.num_players, env.num_actions
    state, _ = env.reset(jax.random.key(0))
    mask = np.asarray(env.legal(state))
    joint = jnp.asarray(np.indices((size,) * n).reshape(n, -1).T, jnp.int32)
    reward = jax.jit(jax.vmap(lambda actions: env.step(state, actions, jax.random.key(1))[1].reward))(joint)
    names = getattr(env, "actions", ())
    padded = [[*own, *map(str, range(len(own), size))] for own in names] if names else ()
    table = np.asarray(reward).T.reshape(n, *(size,) * n)
    return normal_form(table, mask, type(env).__name__, padded, dtype=reward.dtype)  # no more digits than these
