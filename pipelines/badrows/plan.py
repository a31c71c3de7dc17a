"""A replay that is under way: all that it takes to finish it after a kill, as one small JSON object."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pipelines.badrows.recipe import Recipe
from pipelines.contracts.rules import RuleSet

BEGINNING = -1
"""Below the key of every row."""


@dataclass(frozen=True)
class Plan:
    """``after``: key of the last row that is done. ``upto``: where the chunk ends that was begun; None between chunks.

    A chunk is finished with the recipe, rules and schema version that it was begun with, whatever came after.
    """

    replay_id: str
    topic: str
    recipe: Recipe
    who: str
    mark_unrecoverable: bool
    rules: RuleSet
    version: int
    chunk: int = 0
    after: int = BEGINNING
    upto: int | None = None

    def begun(self, upto: int) -> Plan:
        """The next chunk reaches up to this key."""
        return replace(self, upto=upto)

    def done(self) -> Plan:
        """The chunk that was begun is finished."""
        assert self.upto is not None
        return replace(self, chunk=self.chunk + 1, after=self.upto, upto=None)

    def under(self, fresh: Plan) -> Plan:
        """Go on where this one stands, by today's rules and schemas."""
        return replace(fresh, replay_id=self.replay_id, chunk=self.chunk, after=self.after)

    def is_same_command(self, other: Plan) -> bool:
        """Whether both come from the same call: who goes on with a replay need not be who began it."""
        same_recipe = self.recipe.fingerprint == other.recipe.fingerprint
        return same_recipe and (self.topic, self.mark_unrecoverable) == (other.topic, other.mark_unrecoverable)

    def must_end_first(self, other: Plan) -> bool:
        """Whether a chunk of this one is to be finished before another command may begin."""
        return self.upto is not None and not self.is_same_command(other)

    def as_json(self) -> dict[str, Any]:
        """What ``from_json`` makes the same plan of."""
        return {
            "replay_id": self.replay_id,
            "topic": self.topic,
            "recipe": self.recipe.as_json(),
            "who": self.who,
            "mark_unrecoverable": self.mark_unrecoverable,
            "rules": self.rules.model_dump(mode="json"),
            "version": self.version,
            "chunk": self.chunk,
            "after": self.after,
            "upto": self.upto,
        }

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Plan:
        parsed = {"recipe": Recipe.model_validate(found["recipe"]), "rules": RuleSet.model_validate(found["rules"])}
        return cls(**{**found, **parsed})
