"""Files of a directory: numbers from JSON, pictures as data URIs."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from experiments.config import UserError
from experiments.report.blocks import Picture
from experiments.run_directory import RunDirectory

__all__ = ["made", "picture", "read_json", "thinned"]

KINDS = {".gif": "image/gif", ".svg": "image/svg+xml", ".png": "image/png"}


def read_json(path: Path) -> dict[str, Any]:
    """The mapping in a file.

    Raises:
        UserError: it cannot be read, or holds no mapping.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: is damaged: {error}") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: is damaged: expected a mapping")
    return data


def thinned(run: RunDirectory, lines: list[dict[str, Any]]) -> list[str]:
    """That some of what was logged is not shown, if so."""
    count = run.count_metrics()
    return [f"{count - len(lines):,} of {count:,} logged steps"] if count > len(lines) else []


def made(data: dict[str, Any]) -> dict[str, str]:
    """Device and versions."""
    facts = {"device": str(data["device"])} if data.get("device") else {}
    versions = data.get("versions")
    if isinstance(versions, dict):
        facts["versions"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    return facts


def picture(path: Path, title: str, about: str) -> Picture:
    """The picture in a file, which the page then holds."""
    data = base64.b64encode(path.read_bytes()).decode()
    return Picture(title, about, f"data:{KINDS[path.suffix]};base64,{data}")
