"""Read a recipe from its file; every mistake is named with file, line and reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from pipelines.badrows.recipe import Map, Recipe
from pipelines.contracts import yaml_file
from pipelines.contracts.yaml_file import YamlFile
from pipelines.errors import InvalidRecipe


def load_recipe(path: Path, fields: Iterable[str], added: Callable[[], Iterable[str]] = tuple) -> Recipe:
    """Read a recipe for records of these fields. Raises InvalidRecipe with file, line and reason.

    ``added``: more fields, asked for only if the recipe names one that is not among ``fields``.
    """
    file = yaml_file.read(path, InvalidRecipe)
    recipe = file.parse(Recipe)
    _check_order(recipe, file)
    _check_maps(recipe, file)
    _check_fields(recipe, set(fields), added, file)
    return recipe


def _check_order(recipe: Recipe, file: YamlFile) -> None:
    for n, step in enumerate(recipe.steps):
        where = ("steps", n, step.kind)
        if step.reads and n > 0:
            raise file.refused(where, f"{step.kind} reads the value, so it can only be the first step")
        if step.kind == "encode" and n < len(recipe.steps) - 1:
            raise file.refused(where, "encode writes the value, so it can only be the last step")


def _check_maps(recipe: Recipe, file: YamlFile) -> None:
    """A mapping of YAML came here as a dict, in which the last of several equal keys has won."""
    for n, step in enumerate(recipe.steps):
        where = ("steps", n, "map", "values")
        if isinstance(step.action, Map) and 0 < len(step.action.values) < _keys(file.node, where):
            pairs = "values: [[1, 200], [true, 201]]"
            raise file.refused(where, f"1, 1.0 and true are one key of a mapping: list them as pairs, {pairs}")


def _keys(node: Any, where: tuple[str | int, ...]) -> int:
    """How many keys the mapping at this place has in the file; 0 for anything else."""
    for part in where:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
        elif isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == part), None)
    return len(node.value) if isinstance(node, yaml.MappingNode) else 0


def _check_fields(recipe: Recipe, fields: set[str], added: Callable[[], Iterable[str]], file: YamlFile) -> None:
    """Only ``drop`` may name a field that no schema has: one that a JSON value brought along."""
    named = [(n, step.kind, getattr(step.action, "field", None)) for n, step in enumerate(recipe.steps)]
    unknown = [(n, kind, field) for n, kind, field in named if field not in {None, *fields} and kind != "drop"]
    if not unknown:
        return
    known = fields.union(added())
    for n, kind, field in unknown:
        if field not in known:
            reason = f"unknown field {field!r}; there are {', '.join(sorted(known))}"
            raise file.refused(("steps", n, kind, "field"), reason)
