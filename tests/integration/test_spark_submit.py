"""spark-submit.sh itself, with a spark-submit that only notes how it was called."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.settings import ROOT
from tests.submitting import submit, submitted

Fake = Callable[[str], dict[str, str]]


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    """A SPARK_HOME whose spark-submit runs these lines of bash; everything else a submission needs."""

    def make(lines: str) -> dict[str, str]:
        script = tmp_path / "spark" / "bin" / "spark-submit"
        script.parent.mkdir(parents=True)
        script.write_text(f"#!/usr/bin/env bash\n{lines}\n", encoding="utf-8")
        script.chmod(0o755)
        jars = tmp_path / "jars"
        jars.mkdir()
        (jars / "one.jar").touch()
        return {
            "SPARK_HOME": str(tmp_path / "spark"),
            "SDP_HOME": str(tmp_path / "home"),
            "SDP_JARS": str(jars),
            "PYSPARK_PYTHON": "/opt/python",
            "VENV": str(Path(sys.executable).parents[1]),
        }

    return make


SHARED = ("--set", "warehouse=hdfs:///sdp/warehouse", "--set", "checkpoints=hdfs:///sdp/checkpoints")


def left_behind() -> list[Path]:
    return list((ROOT / "build").glob("submit.*"))


def test_help_teaches() -> None:
    code, said = submit(["--help"])
    assert code == 0
    for word in ("yarn-cluster", "--recover", "SDP_JARS", "Examples", "Exit codes"):
        assert word in said


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "which job?"),
        (["mars", "ingest"], "no target or job 'mars'"),
        (["local", "ingest", "--sometimes"], "No such option: --sometimes"),
        (["local", "complete", "--sometimes"], "No such option: --sometimes"),
        (["reconcile", "--set", "kafka.sasl_password=x"], "SDP_KAFKA__SASL_PASSWORD"),
        (["ingest", "--set", "ingest.trigger_s=soon"], "ingest.trigger_s"),
        (["ingest", "--set", "kafka.sasl_password=x"], "SDP_KAFKA__SASL_PASSWORD"),
        (["yarn-cluster", "ingest"], "checkpoints"),
        (["kubernetes", "ingest", *SHARED], "spark.master"),
    ],
)
def test_wrong_use_is_exit_code_2_and_says_why(arguments: list[str], reason: str, fake: Fake) -> None:
    before = left_behind()
    code, said = submit(arguments, fake("echo must not be called; exit 7") | {"SDP_WAREHOUSE": "hdfs:///sdp"})
    assert code == 2, said
    assert reason in said
    assert left_behind() == before


def test_arguments_arrive_in_order_and_extra_options_come_last(fake: Fake) -> None:
    code, said = submit(
        ["local", "ingest", "--once", "--set", "kafka.topic=a-b", "--", "--conf", "x=two words"],
        fake("printf '<%s>\\n' \"$@\"; exit 3"),
    )
    lines = said.splitlines()
    assert code == 3
    tail = ["<--conf>", "<x=two words>", f"<{ROOT}/jobs/ingest_logs.py>", "<--once>", "<--set>", "<kafka.topic=a-b>"]
    assert lines[-6:] == tail
    assert lines.index("<spark.sql.session.timeZone=UTC>") < len(lines) - 6


def test_a_command_gets_its_options_and_the_settings_that_were_chosen(fake: Fake) -> None:
    options = ["--from", "7d", "--set", "kafka.topic=a-b", "--sample=5", "--json"]
    code, said = submit(["reconcile", *options, "--", "--queue", "logs"], fake("printf '<%s>\\n' \"$@\"; exit 1"))
    assert code == 1
    given = ["--queue", "logs", f"{ROOT}/jobs/reconcile_logs.py", "--from", "7d", "--sample=5", "--json"]
    assert said.splitlines()[-9:] == [f"<{one}>" for one in [*given, "--set", "kafka.topic=a-b"]]


def test_a_secret_of_the_environment_is_on_no_command_line(fake: Fake) -> None:
    env = fake("printf '%s\\n' \"$@\"; for a; do f=${a%%#*}; [[ $f != *.json ]] || stat -c 'mode %a' \"$f\"; done")
    env |= {"SDP_KAFKA__SASL_PASSWORD": "open sesame", "SDP_SPARK__CONF": '{"spark.x.secret.key": "open sesame"}'}
    code, said = submit(["yarn-cluster", "ingest", "--once", *SHARED], env)
    assert code == 0, said
    assert "open sesame" not in said
    assert "mode 600" in said


@pytest.mark.parametrize(
    ("target", "said", "spark_code", "code"),
    [
        ("yarn-cluster", "diagnostics: User application exited with status 2", 1, 2),
        ("yarn-cluster", "Application is killed", 1, 3),
        ("yarn-cluster", "final status: SUCCEEDED", 0, 0),
        ("kubernetes", "exit code: 1", 0, 1),
    ],
)
def test_the_exit_code_is_the_jobs_own_on_a_cluster(
    target: str, said: str, spark_code: int, code: int, fake: Fake
) -> None:
    extra = ["--", "--master", "k8s://x", "--conf", "spark.kubernetes.container.image=y"]
    env = fake(f"echo '26/01/01 00:00:00 ERROR Client: {said}' >&2; exit {spark_code}")
    found, output = submit([target, "ingest", *SHARED, *(extra if target == "kubernetes" else [])], env)
    assert found == code
    assert said in output


DRIVER = """
import signal, sys, time
stop = []
signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
print("driver is up", flush=True)
while not stop:
    time.sleep(0.05)
print("driver finished its batch", flush=True)
sys.exit(0)
"""

LIKE_A_JVM = """
python={python}
$python {driver} jobs/ingest_logs.py & driver=$!
$python -c 'from signal import *; import time; signal(SIGTERM, SIG_DFL); time.sleep(60)' pyspark.daemon & daemon=$!
wait $driver; code=$?
kill -0 $daemon && echo the workers were left alone
kill $daemon
exit $code
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_driver_alone_and_the_exit_code_is_its_own(
    number: signal.Signals, fake: Fake, tmp_path: Path
) -> None:
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER, encoding="utf-8")
    with submitted(["ingest"], fake(LIKE_A_JVM.format(python=sys.executable, driver=driver))) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "driver is up" in line:
                os.kill(process.pid, number)
                break
        rest, _ = process.communicate(timeout=120)
    assert process.returncode == 0, rest
    assert "driver finished its batch" in rest
    assert "the workers were left alone" in rest
