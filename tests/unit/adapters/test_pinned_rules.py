"""A batch keeps the rules of its first try; a kept set that Java refuses is named together with the way out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest

from pipelines.adapters.hadoop_fs import HadoopFiles
from pipelines.adapters.pinned_rules import PinnedRules
from pipelines.contracts.rule_file import Refusal
from pipelines.contracts.rules import Pattern, Rule, RuleSet
from pipelines.errors import InvalidRuleFile
from pipelines.records import Batch

URI = "hdfs://namenode/cp/ingest.rules"
BATCH = Batch("ingest", "id", 7, ())


def rules(regex: str) -> RuleSet:
    rule = Pattern(id="odd", field="a", check="pattern", regex=regex, severity="critical", message="m", owner="us")
    return RuleSet(subject="s", rules=(rule,))


@dataclass
class FakeFiles:
    """Files by URI."""

    texts: dict[str, str] = field(default_factory=dict)

    def exists(self, uri: str) -> bool:
        return uri in self.texts

    def read_text(self, uri: str) -> str:
        return self.texts[uri]

    def write_text(self, uri: str, text: str, *, overwrite: bool) -> bool:
        self.texts[uri] = text
        return True

    def delete(self, uri: str) -> None:
        self.texts.pop(uri, None)

    def move(self, uri: str, to: str) -> None:
        self.texts[to] = self.texts.pop(uri)


def java(rule: Rule) -> str | None:
    return "Java refuses it" if isinstance(rule, Pattern) and "{id}" in rule.regex else None


def pinned(files: FakeFiles, refusal: Refusal = java) -> PinnedRules:
    return PinnedRules(cast(HadoopFiles, files), URI, refusal)


def test_a_batch_keeps_the_set_of_its_first_try_and_the_next_one_does_not() -> None:
    files = FakeFiles()
    assert pinned(files).of(BATCH, rules("a")) == rules("a")
    assert pinned(files).of(BATCH, rules("b")) == rules("a")
    assert pinned(files).of(Batch("ingest", "id", 8, ()), rules("b")) == rules("b")


def test_a_kept_set_that_java_refuses_is_named_with_the_way_out() -> None:
    files = FakeFiles()
    pinned(files, lambda _: None).of(BATCH, rules("^/{id}"))
    with pytest.raises(InvalidRuleFile) as caught:
        pinned(files).of(BATCH, rules("a"))
    assert str(caught.value).startswith(
        f"{URI}:1: odd: Java refuses it. Batch 7 of ingest was begun with this rule set"
    )
    assert "Delete this file and start again" in str(caught.value)
    assert (caught.value.exit_code, caught.value.retriable) == (2, False)
    files.delete(URI)
    assert pinned(files).of(BATCH, rules("a")) == rules("a")


def test_a_kept_set_of_an_older_batch_is_not_looked_at() -> None:
    files = FakeFiles()
    pinned(files, lambda _: None).of(BATCH, rules("^/{id}"))
    assert pinned(files).of(Batch("ingest", "id", 8, ()), rules("b")) == rules("b")
