"""The rules of the next batch, from a file that may be replaced while the job runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from py4j.protocol import Py4JJavaError

from pipelines.adapters.hadoop_fs import HadoopFiles
from pipelines.contracts.rule_file import Refusal, parse_rules, read_rules
from pipelines.contracts.rules import RuleSet
from pipelines.errors import InvalidRuleFile, SdpError, Unavailable
from pipelines.settings import is_uri


class RuleNews(Protocol):
    """Is told what became of the file."""

    def rules_swapped(self, before: str, after: str) -> None: ...
    def rules_refused(self, error: Exception, kept: str) -> None: ...


class RuleBook:
    """The rule set as the file has it now, or the last good one.

    ``fields``: the kind of each field of the subject, as of now. ``refusal``: what Java has against a rule, so that no
    set is taken that no batch could be judged by. The constructor reads the file for the first time and raises
    InvalidRuleFile, or Unavailable where its file system is away. Later a file that can't be used changes nothing;
    ``news`` is told once per content.
    """

    def __init__(
        self,
        read: Callable[[], str],
        name: str,
        subject: str,
        fields: Callable[[], Mapping[str, str]],
        refusal: Refusal,
        news: RuleNews,
    ) -> None:
        self._read, self._name, self._subject, self._fields = read, name, subject, fields
        self._refusal, self._news = refusal, news
        text, kinds = read(), dict(fields())
        self._seen: object = (text, kinds)
        self._rules = self._parse(text, kinds)

    def current(self) -> RuleSet:
        """The rules for a batch that begins now."""
        try:
            text, kinds = self._read(), dict(self._fields())
        except SdpError as error:
            self._refuse(error, seen=str(error))
            return self._rules
        if (text, kinds) != self._seen:
            try:
                self._take(self._parse(text, kinds), seen=(text, kinds))
            except InvalidRuleFile as error:
                self._refuse(error, seen=(text, kinds))
        return self._rules

    def _parse(self, text: str, kinds: Mapping[str, str]) -> RuleSet:
        return parse_rules(text, self._name, kinds, self._subject, self._refusal)

    def _take(self, rules: RuleSet, seen: object) -> None:
        before, self._rules, self._seen = self._rules.fingerprint, rules, seen
        if rules.fingerprint != before:
            self._news.rules_swapped(before, rules.fingerprint)

    def _refuse(self, error: SdpError, seen: object) -> None:
        if seen != self._seen:
            self._seen = seen
            self._news.rules_refused(error, self._rules.fingerprint)


def rule_file_reader(files: HadoopFiles, place: str) -> Callable[[], str]:
    """How to read a rule file: on this machine, or by its URI on whatever file system Hadoop knows.

    The result raises InvalidRuleFile if there is no such file, and Unavailable if its file system does not answer.
    """
    if not is_uri(place):
        return lambda: read_rules(Path(place))

    def read() -> str:
        try:
            if not files.exists(place):
                raise InvalidRuleFile(place, 1, "No such file")
            return files.read_text(place)
        except Py4JJavaError as error:
            reason = str(error.java_exception).splitlines()[0]
            raise Unavailable("the rule file", place, reason) from error

    return read
