"""The rules of a batch's first try, kept beside the checkpoint, so that a replay classifies alike (law 7)."""

from __future__ import annotations

from pipelines.adapters.hadoop_fs import HadoopFiles
from pipelines.adapters.json_file import JsonFile
from pipelines.contracts.rule_file import Refusal
from pipelines.contracts.rules import RuleSet
from pipelines.errors import InvalidRuleFile
from pipelines.records import Batch


class PinnedRules:
    """One small file per job: only the newest batch can ever be replayed."""

    def __init__(self, files: HadoopFiles, uri: str, refusal: Refusal) -> None:
        self._file, self._uri, self._refusal = JsonFile(files, uri), uri, refusal

    def of(self, batch: Batch, current: RuleSet) -> RuleSet:
        """The rules that this batch was first tried with; ``current`` is pinned if this is the first try.

        Raises InvalidRuleFile for a pinned set that Java refuses.
        """
        key = f"{batch.query_id}/{batch.batch_id}"
        pinned = self._file.read()
        if pinned.get("batch") == key:
            return self._usable(RuleSet.model_validate(pinned["rules"]), batch)
        self._file.write({"batch": key, "rules": current.model_dump(mode="json")})
        return current

    def _usable(self, rules: RuleSet, batch: Batch) -> RuleSet:
        """No row was ever judged by a set that does not compile, so nothing is lost with it."""
        for rule in rules.rules:
            if reason := self._refusal(rule):
                raise InvalidRuleFile(
                    self._uri,
                    1,
                    f"{rule.id}: {reason}. Batch {batch.batch_id} of {batch.query} was begun with this rule set, so no "
                    "row of it was judged yet. Delete this file and start again: then the rule file of now counts.",
                )
        return rules
