"""Arguments of `sdp produce`, and what it says."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipelines import bootstrap
from pipelines.cli import app
from pipelines.cli.produce import parse_span, parse_until
from pipelines.contracts.topics import Difference, TopicReport
from pipelines.errors import UsageError
from pipelines.flows.produce import Prepared
from pipelines.settings import KafkaSettings


def produce(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["produce", "--count", "0", *arguments])


class Refusing:
    """A Kafka that nobody may send to."""

    def __init__(self, _: KafkaSettings) -> None:
        raise AssertionError("this must not be sent")


class Taking:
    """A Kafka that takes everything."""

    accepted = 0
    gave_up = False

    def __init__(self, kafka: KafkaSettings) -> None:
        self.topic = kafka.topic
        self.delivered: dict[int, int] = {}
        self.failures: dict[str, int] = {}

    def send(self, _: object) -> None: ...
    def poll(self) -> None: ...
    def flush(self) -> None: ...


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """One topic of two is not as wanted."""
    odd = Difference("retention.ms", "604800000", "1000")
    topics = [TopicReport("logs", False, 12, 1, (odd,)), TopicReport("logs-dlq", True, 1, 1)]
    monkeypatch.setenv("SDP_HOME", str(tmp_path))
    monkeypatch.setattr(bootstrap, "prepare", lambda _: Prepared(topics, {1: 5}))
    monkeypatch.setattr(bootstrap, "KafkaSender", Taking)
    return monkeypatch


@pytest.mark.parametrize(
    ("text", "ms"), [("0s", 0), ("250ms", 250), ("90m", 5_400_000), ("24h", 86_400_000), ("1.5d", 129_600_000)]
)
def test_span(text: str, ms: int) -> None:
    assert parse_span(text) == ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-01-31T12:00:00", 1_769_860_800_000),
        ("2026-01-31T12:00:00Z", 1_769_860_800_000),
        ("2026-01-31T12:00:00.5+01:00", 1_769_857_200_500),
    ],
)
def test_until(text: str, ms: int) -> None:
    assert parse_until(text) == ms


def test_until_now_is_now() -> None:
    assert parse_until("now") > 1_700_000_000_000


@pytest.mark.parametrize("text", ["", "24", "h", "-1h", "1w"])
def test_wrong_span(text: str) -> None:
    with pytest.raises(UsageError, match="--span"):
        parse_span(text)


def test_wrong_until() -> None:
    with pytest.raises(UsageError, match="--until"):
        parse_until("yesterday")


@pytest.mark.parametrize(("place", "named"), [("no/such.json", "no"), ("file/in.json", "file"), ("folder", "folder")])
def test_counts_that_can_not_be_written_are_refused_before_anything_is_sent(
    place: str, named: str, kafka: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kafka.setattr(bootstrap, "KafkaSender", Refusing)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    result = produce("--expect", str(tmp_path / place))
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).startswith("--expect: ")
    assert str(tmp_path / named) in str(result.exception)


def test_counts_go_to_a_file_that_is_new_or_there(kafka: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for _ in range(2):
        assert produce("--expect", str(tmp_path / "expected.json")).exit_code == 0
        assert '"valid": 0' in (tmp_path / "expected.json").read_text(encoding="utf-8")


def test_a_topic_that_differs_is_named_beside_the_output(kafka: pytest.MonkeyPatch) -> None:
    result = produce("--json")
    assert result.exit_code == 0
    assert "sdp: topic logs: retention.ms is 1000, conf/topics.yaml wants 604800000: not changed\n" in result.stderr
    assert "logs-dlq" not in result.stderr
    assert result.stdout.startswith("{")
