"""What stands beside the code keeps in step with it: environments, licence, lock file, folders."""

import re
import subprocess
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_conda_environment_asks_for_what_pyproject_asks_for():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    (pip,) = (entry["pip"] for entry in environment if isinstance(entry, dict))
    assert sorted(line for line in pip if not line.startswith("--")) == sorted(PROJECT["dependencies"])
    assert f"python{PROJECT['requires-python']}" in environment
    assert "--editable ." in pip


def test_the_lock_names_one_version_of_all_that_is_asked_for_and_no_host():
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock and "--" not in lock
    assert all(re.fullmatch(r"[\w.-]+(\[[\w,-]+\])?==[\w.+]+( ;.*)?", line) for line in lock.splitlines() if line)
    locked = {re.split(r"[=\[]", line)[0] for line in lock.splitlines()}
    asked = [
        *PROJECT["dependencies"],
        *PROJECT["optional-dependencies"]["dev"],
        *PROJECT["optional-dependencies"]["jax"],
        *PROJECT["optional-dependencies"]["deploy"],
        *PROJECT["optional-dependencies"]["onnx"],
    ]
    names = {re.split(r"[<>=\[]", line)[0] for line in asked} - {PROJECT["name"]}
    assert names <= locked


def tracked():
    """The files that git knows."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def test_the_top_level_holds_what_the_map_names_and_nothing_else():
    assert {Path(name).parts[0] for name in tracked()} <= {
        ".ci",
        ".gitignore",
        "LICENSE",
        "Makefile",
        "README.md",
        "benchmarks",
        "data",
        "environment.yml",
        "mbv2_lib",
        "notebooks",
        "pyproject.toml",
        "requirements.lock",
        "tests",
    }


def test_the_licence_is_mit():
    assert (ROOT / "LICENSE").read_text().startswith("MIT License") and PROJECT["license"] == "MIT"


def test_files_of_the_repository_are_small():
    assert all((ROOT / name).stat().st_size <= 10e6 for name in tracked() if (ROOT / name).is_file())
