"""Schemas as code: hold the files under ``schemas/`` against the registry, and register what is missing there."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipelines.contracts.catalogue import released
from pipelines.contracts.schema_plan import COMPATIBILITY, SchemaPlan, SubjectPlan, plan_subject
from pipelines.errors import UsageError


class Store(Protocol):
    """The registry. Every call raises RegistryUnavailable."""

    def subjects(self) -> list[str]: ...
    def versions(self, subject: str) -> dict[int, tuple[int, str]]: ...
    def compatibility(self, subject: str) -> str: ...
    def register(self, subject: str, avsc: str) -> int: ...
    def hold(self, subject: str) -> None: ...


@dataclass(frozen=True)
class SchemaSync:
    """The files of ``folder`` and the registry that must have them."""

    folder: Path
    store: Store

    def plan(self, names: Collection[str] = ()) -> SchemaPlan:
        """How the registry differs; of these subjects only, if any are named.

        Raises UsageError for a subject without files, and with everything that is wrong with the files themselves.
        """
        files = released(self.folder)
        if unknown := sorted(set(names) - files.keys()):
            raise UsageError(f"schemas/ has no subject {', '.join(unknown)}: it has {', '.join(sorted(files))}")
        subjects = tuple(self._plan(s, versions) for s, versions in files.items() if not names or s in names)
        return SchemaPlan(subjects, tuple(sorted(set(self.store.subjects()) - files.keys())))

    def apply(self, plan: SchemaPlan, told: Callable[[str], None] = lambda _: None) -> SchemaPlan:
        """Register what is missing, oldest first, and set the level; a subject with a clash stays as it is.

        ``told``: called with one line after each step. Returns what still differs, from a plan made anew. Raises
        UsageError when the registry refuses a version.
        """
        files = released(self.folder)
        for subject in plan.subjects:
            if not subject.clashes:
                self._apply(subject, files[subject.subject], told)
        return self.plan([subject.subject for subject in plan.subjects])

    def _plan(self, subject: str, files: dict[int, str]) -> SubjectPlan:
        registered = {version: text for version, (_, text) in self.store.versions(subject).items()}
        return plan_subject(subject, files, registered, self.store.compatibility(subject) if registered else None)

    def _apply(self, plan: SubjectPlan, files: dict[int, str], told: Callable[[str], None]) -> None:
        if not plan.is_level_right:
            self.store.hold(plan.subject)
            told(f"{plan.subject}: level {plan.level} → {COMPATIBILITY}")
        for version in plan.missing:
            schema_id = self.store.register(plan.subject, files[version])
            told(f"{plan.subject}: v{version} registered, its id is {schema_id}")
