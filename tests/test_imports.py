"""Imports run one way: envs ← shaping ← equilibria ← experiments ← run.py, and the light half needs no JAX."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ORDER = ("envs", "shaping", "equilibria", "experiments", "run")
FILES = [path for package in ORDER for path in sorted((ROOT / package).glob("**/*.py"))] + [ROOT / "run.py"]


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    here = ORDER.index(path.relative_to(ROOT).parts[0].removesuffix(".py"))
    above = {name for name in imported(path) if name.split(".")[0] in ORDER[here + 1 :]}
    assert not above, f"{path.relative_to(ROOT)} imports {above}"
    if "equilibria" in path.parts:  # games and solvers know nothing of environments and learners; oracles and psro do
        below = {name for name in imported(path) if name.split(".")[0] in ("envs", "shaping")}
        populations = ("growth", "oracles", "learner_oracle", "psro", "reactive")
        assert path.stem in populations or below <= {"envs.registry"}  # names and flags, which know no game


@pytest.mark.parametrize("package", ORDER[:-1])
def test_every_module_is_in_the_reference(package):
    """But for scripts that are copied beside exported policies."""
    files = [
        path for path in (ROOT / package).rglob("*.py") if path.stem != "__init__" and "exported" not in path.parts
    ]
    modules = sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files)
    text = (ROOT / "docs" / "reference" / f"{package}.md").read_text(encoding="utf-8")
    assert text.split() == ["#", f"`{package}`", *(word for module in modules for word in (":::", module))]


@pytest.mark.parametrize(
    "module", ["envs", "shaping", "equilibria", "experiments", "experiments.config", "experiments.cli"]
)
def test_light_modules_import_neither_jax_nor_wandb(module):
    heavy = "{'jax', 'wandb', 'flax', 'matplotlib'} & set(sys.modules)"
    code = f"import sys, {module}; sys.exit(str({heavy}) if {heavy} else 0)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
