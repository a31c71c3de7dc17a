"""Which rules a batch gets while somebody replaces the rule file, and what is said about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from py4j.protocol import Py4JJavaError

from pipelines.adapters.hadoop_fs import HadoopFiles
from pipelines.adapters.rule_book import RuleBook, rule_file_reader
from pipelines.contracts.rules import Rule
from pipelines.errors import InvalidRuleFile, SdpError, Unavailable

ONE = """\
subject: s
rules:
  - {id: one, field: a, check: required, severity: critical, message: m, owner: us}
"""
TWO = ONE.replace("critical", "warning")
BAD = ONE.replace("field: a", "field: b")
PATTERN = ONE.replace("required", "pattern, regex: a")


@dataclass
class Desk:
    """A file, the kinds of fields, and what was said."""

    content: str | SdpError = ONE
    kinds: dict[str, str] = field(default_factory=lambda: {"a": "text"})
    said: list[str] = field(default_factory=list)
    java_says: str | None = None

    def read(self) -> str:
        if isinstance(self.content, SdpError):
            raise self.content
        return self.content

    def refusal(self, rule: Rule) -> str | None:
        return self.java_says if rule.check == "pattern" else None

    def rules_swapped(self, before: str, after: str) -> None:
        assert before != after
        self.said.append("swapped")

    def rules_refused(self, error: Exception, kept: str) -> None:
        self.said.append(str(error))

    def book(self) -> RuleBook:
        return RuleBook(self.read, "rules.yaml", "s", lambda: self.kinds, self.refusal, self)


def severity(book: RuleBook) -> str:
    return book.current().rules[0].severity.value


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_file_that_stays_is_the_same_set_without_a_word(desk: Desk) -> None:
    book = desk.book()
    first = book.current()
    assert book.current() is first
    assert desk.said == []


def test_a_new_file_counts_from_the_next_batch_on(desk: Desk) -> None:
    book = desk.book()
    assert severity(book) == "critical"
    desk.content = TWO
    assert [severity(book), severity(book)] == ["warning", "warning"]
    desk.content = ONE
    assert severity(book) == "critical"
    assert desk.said == ["swapped", "swapped"]


def test_a_file_that_means_the_same_is_no_news(desk: Desk) -> None:
    book = desk.book()
    desk.content = f"# a comment\n{ONE}"
    assert severity(book) == "critical"
    assert desk.said == []


REFUSED = "rules.yaml:3: one: unknown field 'b'; there are a"


def test_a_bad_file_keeps_the_last_good_set_and_is_named_once_per_content(desk: Desk) -> None:
    desk.content = TWO
    book = desk.book()
    desk.content = BAD
    assert [severity(book) for _ in range(3)] == ["warning"] * 3
    assert desk.said == [REFUSED]
    desk.content = f"#\n{BAD}"
    assert severity(book) == "warning"
    assert desk.said == [REFUSED, REFUSED.replace(":3:", ":4:")]
    desk.content = TWO
    assert severity(book) == "warning"
    desk.content = BAD
    assert severity(book) == "warning"
    assert desk.said[2:] == [REFUSED]


@pytest.mark.parametrize("text", ["", "rules", ONE[: len(ONE) // 2], "[" * 100_000, "a: !!bool maybe"])
def test_no_content_whatever_stops_the_job(desk: Desk, text: str) -> None:
    book = desk.book()
    desk.content = text
    assert severity(book) == "critical"
    assert len(desk.said) == 1


@pytest.mark.parametrize(
    "trouble", [InvalidRuleFile("rules.yaml", 1, "No such file"), Unavailable("the rule file", "hdfs://r", "refused")]
)
def test_a_file_that_is_away_keeps_the_last_good_set_and_is_named_once(desk: Desk, trouble: SdpError) -> None:
    book = desk.book()
    desk.content = trouble
    assert [severity(book), severity(book)] == ["critical", "critical"]
    assert desk.said == [str(trouble)]
    desk.content = ONE
    assert severity(book) == "critical"
    assert desk.said == [str(trouble)]


def test_a_rule_on_a_field_that_comes_later_is_taken_once_the_field_is_there(desk: Desk) -> None:
    book = desk.book()
    desk.content = BAD
    assert book.current().rules[0].field == "a"
    desk.kinds["b"] = "text"
    assert book.current().rules[0].field == "b"
    assert desk.said == [REFUSED, "swapped"]


@pytest.mark.parametrize("trouble", [BAD, Unavailable("the rule file", "hdfs://r", "refused")])
def test_at_the_start_there_is_no_last_good_set(desk: Desk, trouble: str | SdpError) -> None:
    desk.content = trouble
    with pytest.raises(SdpError):
        desk.book()


def test_a_set_that_java_refuses_is_not_taken(desk: Desk) -> None:
    book = desk.book()
    desk.content, desk.java_says = PATTERN, "Java refuses the regex 'a': so it is"
    assert severity(book) == "critical"
    assert book.current().rules[0].check == "required"
    assert desk.said == ["rules.yaml:3: one: Java refuses the regex 'a': so it is"]
    with pytest.raises(InvalidRuleFile, match=r"rules\.yaml:3: one: Java refuses"):
        desk.book()


def test_a_set_for_another_subject_is_not_taken(desk: Desk) -> None:
    book = desk.book()
    desk.content = ONE.replace("subject: s", "subject: other")
    assert severity(book) == "critical"
    assert desk.said == ["rules.yaml:1: these rules are for subject 'other', not for 's'"]


@dataclass
class FakeFiles:
    """Files by URI; ``away``: what every call raises."""

    texts: dict[str, str] = field(default_factory=dict)
    away: Exception | None = None

    def exists(self, uri: str) -> bool:
        if self.away:
            raise self.away
        return uri in self.texts

    def read_text(self, uri: str) -> str:
        return self.texts[uri]


class FakeJava:
    """A Java exception as far as its text goes."""

    _target_id = "o1"
    _gateway_client = None

    def __str__(self) -> str:
        return "java.net.ConnectException: refused\n\tat somewhere"


def read(files: FakeFiles, place: str) -> str:
    return rule_file_reader(cast(HadoopFiles, files), place)()


@pytest.mark.parametrize("uri", ["hdfs://namenode/sdp/rules.yaml", "file:/etc/rules.yaml", "s3a://bucket/rules.yaml"])
def test_a_uri_is_read_from_its_file_system(uri: str) -> None:
    assert read(FakeFiles({uri: ONE}), uri) == ONE


def test_a_path_is_read_on_this_machine_whatever_the_default_file_system(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(ONE, encoding="utf-8")
    assert read(FakeFiles(), str(path)) == ONE


@pytest.mark.parametrize("place", ["hdfs://namenode/none.yaml", "/nowhere/none.yaml"])
def test_a_file_that_is_not_there_is_named(place: str) -> None:
    with pytest.raises(InvalidRuleFile, match=r"none\.yaml:1: No such file"):
        read(FakeFiles(), place)


def test_a_file_system_that_is_away_may_come_back() -> None:
    files = FakeFiles(away=Py4JJavaError("", FakeJava()))
    with pytest.raises(Unavailable) as caught:
        read(files, "hdfs://namenode/rules.yaml")
    assert caught.value.retriable
    assert "hdfs://namenode/rules.yaml is not available: java.net.ConnectException: refused" in str(caught.value)
