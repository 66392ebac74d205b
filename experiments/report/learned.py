"""What is known only to those who load what a run has learned: policies after every history, and an episode."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from experiments.config import UserError
from experiments.report.blocks import Chart, Control, Section
from experiments.report.charts import Bars, bars
from experiments.report.files import picture

__all__ = ["add_learned"]

EPISODE = "Episode"


def add_learned(section: Section, path: Path) -> None:
    """Add to the `section` of the run in `path` policies and an episode, or say why they are missing."""
    from experiments import render
    from experiments.trained import load_run

    try:
        trained = load_run(path, str(path))
    except (UserError, SystemExit) as error:  # the flags of an older version, of another type
        why = str(error) if isinstance(error, UserError) else "its config cannot be read"
        section.missing.append(f"policies after every history ({why})")
        _file(section, path, why)
        return
    found = render.policies(trained)
    if isinstance(found, str):
        section.missing.append(f"policies after every history ({found})")
    elif any(len(policy.histories) >= len(trained.match.env.statistic_names) for policy in found):  # more than kinds
        section.blocks.append(_policies(found, trained.step, trained.run.seed))
    if (path / "episode.gif").is_file():
        _file(section, path, "")
        return
    frames = render.episode(trained, trained.run.seed, 0)
    if isinstance(frames, str):
        _file(section, path, frames)
        return
    from experiments.episode_pictures import draw_animation

    about = f"Seed {trained.run.seed} after {trained.step} training steps, episode 0."
    with tempfile.TemporaryDirectory() as folder:
        drawn = Path(folder) / "episode.gif"
        draw_animation(drawn, f"{trained.run.env}: {section.facts.get('learners', '')}", frames)
        section.blocks.append(picture(drawn, EPISODE, about))


def _file(section: Section, path: Path, why: str) -> None:
    """The episode that has been drawn, moving or not; or why there is none."""
    file = next((path / name for name in ("episode.gif", "episode.svg") if (path / name).is_file()), None)
    if file is None:
        section.missing.append(f"an episode ({why})")
        return
    newest = max((own.stat().st_mtime for own in path.glob("checkpoint/*.safetensors")), default=0.0)
    old = "; older than the last checkpoint, `run.py render` draws it anew" if file.stat().st_mtime < newest else ""
    section.blocks.append(picture(file, EPISODE, f"{file.name} of the directory{old}."))


def _policies(found: list, step: int, seed: int) -> Chart:
    """A view a policy."""
    views = {}
    for index, policy in enumerate(found):
        groups = [Bars(f"probability of {name}", np.asarray(policy.probabilities[..., k]))
                  for k, name in enumerate(policy.actions)]  # fmt: skip
        quantity = groups[0].label if len(groups) == 1 else "probability"
        views[str(index)] = bars(policy.histories, groups, quantity, seed=seed)
    control = Control("policy", [policy.title for policy in found])
    about = f"What was learned after {step} training steps, {found[0].about}."
    return Chart("Policies after every history", about, views, [control])
