"""Exit codes and messages of ``sdp``: one readable line on standard error, never a traceback."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest
import structlog
import typer
from py4j.protocol import Py4JError
from typer.core import TyperGroup
from typer.testing import CliRunner

from pipelines import bootstrap, cli
from pipelines.cli import Commands, app
from pipelines.cli.options import Interrupted, on_interrupt
from pipelines.cli.run import Start, as_flags
from pipelines.errors import (
    AlreadyRunning,
    BrokerUnavailable,
    CheckpointLost,
    ContractViolation,
    InvalidRuleFile,
    InvalidSetting,
    MetastoreUnavailable,
    NotConserved,
    OffsetsLost,
    RegistryUnavailable,
    SdpError,
    ServerFailed,
    SinkUnavailable,
    UsageError,
)
from pipelines.records import OffsetRange, Severity, Violation

ERRORS: list[tuple[SdpError, int]] = [
    (NotConserved("ingest", 7, ["partition 0 has 1 rows too many"]), 1),
    (OffsetsLost("ingest", [OffsetRange("logs", 3, 5, 9)]), 1),
    (UsageError("no such thing"), 2),
    (InvalidSetting("kafka.topik: Extra inputs are not permitted"), 2),
    (InvalidRuleFile("rules.yaml", 7, "unknown field"), 2),
    (CheckpointLost("ingest", "/c", "gone"), 2),
    (AlreadyRunning("ingest", "process 7 on here", "/l"), 2),
    (ContractViolation([Violation("code", "field", "message", Severity.CRITICAL)]), 2),
    (BrokerUnavailable("Kafka", "b:9092", "refused"), 3),
    (RegistryUnavailable("registry", "http://r", "refused"), 3),
    (MetastoreUnavailable("metastore", "thrift://m", "refused"), 3),
    (SinkUnavailable("Elasticsearch", "http://e", "refused"), 3),
    (ServerFailed("Kafka", "b:9092", "see [kafka.log]"), 3),
]


@pytest.fixture(autouse=True)
def no_sdp_variables(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("SDP_")]:
        monkeypatch.delenv(name)
    yield
    structlog.reset_defaults()  # `sdp run` configures logging to what is standard error now


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException | Callable[[], None]) -> None:
    """``sdp fail`` raises the error, or does what raises one."""
    small = typer.Typer(cls=Commands, rich_markup_mode=None, pretty_exceptions_enable=False)

    @small.callback()
    def several() -> None:
        """With a group above it, as in ``sdp``."""

    @small.command()
    def fail() -> None:
        if not isinstance(error, BaseException):
            return error()
        raise error

    monkeypatch.setattr(cli, "app", small)


@pytest.mark.parametrize(("error", "code"), ERRORS, ids=[type(error).__name__ for error, _ in ERRORS])
def test_an_expected_error_is_one_line_and_an_exit_code(
    error: SdpError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, error)
    with pytest.raises(SystemExit) as caught:
        cli.main(["fail"])
    shown = capsys.readouterr()
    assert caught.value.code == code
    assert shown.err == f"sdp: {error}\n"
    assert shown.out == ""


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ZeroDivisionError("a bug"))
    with pytest.raises(ZeroDivisionError):
        cli.main(["fail"])


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyboardInterrupt(), "sdp: interrupted: nothing is lost, run the same command again to go on\n"),
        (Interrupted("interrupted: 7 of 9 are kept"), "sdp: interrupted: 7 of 9 are kept\n"),
    ],
)
def test_an_interrupt_is_one_line_and_exits_with_130(
    error: KeyboardInterrupt, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, error)
    with pytest.raises(SystemExit) as caught:
        cli.main(["fail"])
    shown = capsys.readouterr()
    assert caught.value.code == 130
    assert (shown.out, shown.err) == ("", told)


@pytest.mark.parametrize(
    ("error", "text"), [(KeyboardInterrupt(), "outer"), (Interrupted("inner"), "inner"), (Interrupted(""), "")]
)
def test_an_interrupt_means_what_the_innermost_block_says(error: KeyboardInterrupt, text: str) -> None:
    with pytest.raises(Interrupted) as caught, on_interrupt("outer"):
        raise error
    assert str(caught.value) == text


def spark_takes_the_signal(*_: object) -> None:
    """What pyspark's own handler does while a call to the JVM is under way."""
    raise Py4JError("An error occurred while calling o34.cancelAllJobs")


@pytest.fixture
def handled_by_spark() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def under_way() -> None:
    signal.signal(signal.SIGINT, spark_takes_the_signal)  # within the block, as a session that starts there
    signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("handled_by_spark")
def test_an_error_that_spark_makes_of_ctrl_c_is_an_interrupt() -> None:
    with pytest.raises(Interrupted, match="nothing was kept"), on_interrupt("nothing was kept"):
        under_way()


@pytest.mark.usefixtures("handled_by_spark")
def test_such_an_error_is_one_line_and_exits_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(monkeypatch, under_way)
    with pytest.raises(SystemExit) as caught:
        cli.main(["fail"])
    assert caught.value.code == 130
    assert capsys.readouterr().err == "sdp: interrupted: nothing is lost, run the same command again to go on\n"


def test_an_error_in_cleaning_up_after_ctrl_c_is_an_interrupt() -> None:
    def cleaned_up() -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise Py4JError("the connection is gone")

    with pytest.raises(Interrupted, match="outer"), on_interrupt("outer"):
        cleaned_up()


def test_an_error_after_a_stop_that_was_asked_for_is_not_hidden() -> None:
    stop = threading.Event()

    def buggy() -> None:
        signal.raise_signal(signal.SIGINT)
        assert stop.wait(10)
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError), on_interrupt("outer"), bootstrap.stopping_on_signals(stop):
        buggy()


@pytest.mark.parametrize("error", [typer.Exit(1), UsageError("no")], ids=["exit code", "error of ours"])
@pytest.mark.usefixtures("handled_by_spark")
def test_ends_that_were_meant_stay_what_they_are(error: Exception) -> None:
    def ended() -> None:
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.raise_signal(signal.SIGINT)
        raise error

    with pytest.raises(type(error)), on_interrupt("outer"):
        ended()


def test_without_ctrl_c_an_error_stays_what_it_is() -> None:
    with pytest.raises(Py4JError), on_interrupt("outer"):
        raise Py4JError("the JVM is gone")


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["status", "--env", "nowhere"], 2, "no environment 'nowhere'"),
        (["run", "ingest", "--env", "nowhere"], 2, "there are local"),
        (["run", "index", "--once", "--set", "kafka.topik=x"], 2, "kafka.topik: Extra inputs are not permitted"),
        (["run", "ingest", "--once", "--from", "earliest"], 2, "it takes --recover"),
        (
            ["submit-arguments", "yarn-cluster", "ingest", "--folder", "f", "--from", "earliest"],
            2,
            "it takes --recover",
        ),
        (["stack", "up", "--set", "stack.brokers=9"], 2, "stack.brokers: "),
        (["stack", "up", "--set", "home=/dev/null/x"], 2, "home: /dev/null is not a folder"),
        (["doctor", "--set", "home=/dev/null/x"], 2, "home: /dev/null is not a folder"),
        (["doctor", "--set", "stack.brokers=3", "--set", "stack.ports.kafka=65535"], 2, "give 65533 or less"),
        (["init", "--set", "nonsense"], 2, "--set takes key.path=value"),
        (["produce", "--mix", "nonsense"], 2, "nonsense"),
        (["doctor", "--set", "kafak.topic=x"], 2, "kafak: Extra inputs are not permitted"),
        (["demo", "--env", "nowhere"], 2, "no environment 'nowhere'"),
        (["run", "compact"], 2, "'compact'"),
        (["run"], 2, "ingest"),
        (["nonsense"], 2, "nonsense"),
        (["status", "--nonsense"], 2, "--nonsense"),
    ],
)
def test_wrong_use_exits_with_2_and_names_what_is_wrong(
    arguments: list[str], code: int, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    shown = capsys.readouterr()
    assert caught.value.code == code
    assert named in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""


def test_the_environment_variable_chooses_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SDP_ENV", "nowhere")
    with pytest.raises(SystemExit) as caught:
        cli.main(["status"])
    assert caught.value.code == 2
    assert "no environment 'nowhere'" in capsys.readouterr().err


def commands(group: TyperGroup, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, (*path, name))
        elif not command.hidden:
            yield (*path, name)


ROOT = typer.main.get_command(app)
assert isinstance(ROOT, TyperGroup)
COMMANDS = sorted(commands(ROOT))
RUN, SUBMIT = (ROOT.commands[name] for name in ("run", "submit-arguments"))


def test_the_commands_that_people_and_scripts_rely_on() -> None:
    assert {" ".join(path) for path in COMMANDS} >= {
        "demo",
        "doctor",
        "init",
        "produce",
        "rules check",
        "rules show",
        "rules test",
        "run",
        "schemas test",
        "stack down",
        "stack fetch",
        "stack status",
        "stack up",
        "status",
        "stop",
    }


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_has_an_example_and_the_options_that_every_command_takes(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*path, "--help"])
    assert result.exit_code == 0
    assert f"Example: sdp {' '.join(path)}" in result.stdout
    assert "--env" in result.stdout
    assert "--set" in result.stdout
    assert CliRunner().invoke(app, [*path, "-h"]).stdout == result.stdout


@pytest.mark.parametrize(
    "path",
    [("status",), ("run",), ("produce",), ("doctor",), ("stack", "status"), ("rules", "test"), ("schemas", "test")],
    ids=" ".join,
)
def test_help_names_the_exit_codes(path: tuple[str, ...]) -> None:
    shown = " ".join(CliRunner().invoke(app, [*path, "--help"]).stdout.split())
    assert "xit code" in shown
    assert "3" in shown


def test_help_of_sdp_names_all_exit_codes() -> None:
    shown = " ".join(CliRunner().invoke(app, ["--help"]).stdout.split())
    assert "0 fine · 1 it found something wrong with the data · 2 wrong use · 3 infrastructure unavailable" in shown
    assert "130 interrupted" in shown


def test_spark_submit_takes_and_passes_on_every_option_of_a_run() -> None:
    run, submit = ({p.name: (p.opts, p.default) for p in command.params} for command in (RUN, SUBMIT))
    assert run.items() <= submit.items()
    own = {"job", "env", "overrides"}
    flags = {option for name, (options, _) in run.items() if name not in own for option in options}
    every = as_flags(once=True, recover=True, start=Start.EARLIEST, accept_loss=True, pretty=True)
    assert flags == {text for text in every if text.startswith("--")}
    assert as_flags(once=False, recover=False, start=Start.LEDGER, accept_loss=False, pretty=False) == []
