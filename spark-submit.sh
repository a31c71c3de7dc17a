#!/usr/bin/env bash
# Run a job under spark-submit: on this machine, on YARN, or on Kubernetes. See usage() below or --help.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: ./spark-submit.sh [TARGET] JOB [job options] [-- spark-submit options]

TARGET  local         driver and executors in one process on this machine (default)
        yarn-client   driver on this machine, executors on YARN
        yarn-cluster  driver and executors on YARN            docs/yarn.md
        kubernetes    driver and executors in pods            docs/kubernetes.md
JOB     ingest        Kafka to Delta tables
        index         Kafka to Elasticsearch
        reconcile     compare Kafka, tables and Elasticsearch
        repair        put right what a reconciliation found
        complete      say up to which hour everything is proven complete
        quality       check a day's rows against the expectations
        maintain      optimize, vacuum, indices or checkpoints
        lag           say how far the jobs are behind

Job options of the last six are those of `sdp JOB` (`sdp JOB --help`); of ingest and index those of `sdp run`:
  --once                 drain what is there, then stop
  --recover              after a lost checkpoint: start a new query where the ledger ends
  --from earliest        with --recover: replay everything that Kafka still has
  --accept-loss          record offsets that retention deleted as lost, and go on
  --env NAME             use conf/NAME.yaml
  --set KEY=VALUE        override one setting; repeatable
  --pretty               logs for a person instead of JSON

Whatever follows -- goes to spark-submit and wins over what this script and the settings say.

Examples
  ./spark-submit.sh ingest --once
  ./spark-submit.sh local index --set index.trigger_s=30
  ./spark-submit.sh reconcile --from 2026-03-01T00:00 --to 2026-03-02T00:00 --json
  HADOOP_CONF_DIR=/etc/hadoop/conf PYSPARK_PYTHON=/opt/sdp/venv/bin/python \
      ./spark-submit.sh yarn-cluster ingest --env prod -- --num-executors 4 --executor-memory 4g

Environment
  SDP_*                  settings, and the only way to give secrets: SDP_KAFKA__SASL_PASSWORD=...
                         They are never put on a command line. yarn-cluster carries them in a file that only you can
                         read; kubernetes takes them from secrets of the cluster.
  SDP_JARS               folder of jars, or URIs separated by commas (hdfs:///sdp/jars/*.jar); default: the jars that
                         `sdp stack fetch spark` got
  PYSPARK_PYTHON         on YARN: the Python of the nodes
  SDP_PYTHON_ARCHIVE     on YARN: a packed virtual environment instead (file or URI)
  HADOOP_CONF_DIR        on YARN: configuration of the cluster
  SPARK_HOME             Spark to submit with; default: the one in the virtual environment
  VENV                   virtual environment; default: .venv beside this script

Stopping: in local and yarn-client, SIGTERM or Ctrl-C lets the running batch finish, then the exit code is 0; a second
Ctrl-C stops at once. In yarn-cluster and kubernetes the job goes on without this script; `sdp stop JOB`, with the --env
and --set of the job, ends it there after its running batch. Nothing is lost or doubled either way: a batch that was cut
off is repeated.

Exit codes, in every target: 0 fine, 1 something is wrong with the data, 2 wrong use, 3 infrastructure unavailable.
TEXT
}

wrong_use() {
    printf 'spark-submit.sh: %s\nTry ./spark-submit.sh --help\n' "$*" >&2
    exit 2
}

# --- arguments: target, job, options of the job, options of spark-submit ---------------------------------------------

case "${1:-}" in
-h | --help) usage && exit 0 ;;
local | yarn-client | yarn-cluster | kubernetes) target=$1 && shift ;;
*) target=local ;;
esac
jobs="ingest, index, reconcile, repair, complete, quality, maintain, lag"
case "${1:-}" in
ingest | index) job=$1 ask=submit-arguments && shift ;;
reconcile | repair | complete | quality | maintain | lag) job=$1 ask=submit-command-arguments && shift ;;
"") wrong_use "which job? $jobs" ;;
*) wrong_use "no target or job '$1': targets are local, yarn-client, yarn-cluster, kubernetes; jobs are $jobs" ;;
esac
job_options=()
while (($#)); do
    case "$1" in
    --) shift && break ;;
    -h | --help) usage && exit 0 ;;
    *) job_options+=("$1") && shift ;;
    esac
done

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${VENV:-$root/.venv}/bin/python
[[ -x $python ]] || wrong_use "no $python: run \`make install\`, or set VENV to a virtual environment that has the requirements"
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}
export SPARK_HOME=${SPARK_HOME:-$("$python" -c 'from importlib.util import find_spec; print(find_spec("pyspark").submodule_search_locations[0])')}

mkdir -p "$root/build"
room=$(mktemp -d "$root/build/submit.XXXXXX") # readable by us alone
trap 'rm -rf "$room"' EXIT
asked=("$target" "$job" --folder "$room" "${@/#/--extra=}") # options of ingest and index are checked beside these
[[ $ask == submit-arguments ]] || asked+=(--)           # those of the others as a whole, by their own command
"$python" -m pipelines.cli "$ask" "${asked[@]}" ${job_options[@]+"${job_options[@]}"} >"$room/arguments"
mapfile -d '' -t arguments <"$room/arguments"

# --- the driver runs here: spark-submit is a JVM whose child is our Python -------------------------------------------

drivers() { pgrep -P "$child" -f "jobs/${job}(_logs)?[.]py" || true; }

tell_driver() {
    local pid
    for pid in $(drivers); do kill -s "$1" "$pid" 2>/dev/null || true; done
}

finish_batch_then_stop() { # until it has ended: a driver that is only starting does not listen yet
    while kill -0 "$child" 2>/dev/null; do
        tell_driver TERM
        sleep 1
    done
}

on_signal() {
    signalled=1
    if [[ -n $stopping ]]; then
        [[ $1 != INT ]] || tell_driver INT
        return
    fi
    echo "spark-submit.sh: stopping after the running batch" >&2
    finish_batch_then_stop &
    stopping=$!
}

run_here() {
    signalled='' stopping=''
    set -m # a process group of its own, so that Ctrl-C reaches this script alone
    # Ignored signals stay ignored in the JVM: it must outlive Python. Python puts its own handlers in.
    (trap '' INT TERM HUP && exec "$SPARK_HOME/bin/spark-submit" "${arguments[@]}") &
    child=$!
    trap 'on_signal TERM' TERM HUP
    trap 'on_signal INT' INT
    while :; do
        code=0
        wait "$child" || code=$?
        [[ -n $signalled ]] || break
        signalled='' # wait was interrupted by a signal, and says so instead of how the job ended
    done
    [[ -z $stopping ]] || kill "$stopping" 2>/dev/null || true
    exit "$code"
}

# --- the driver runs on the cluster: spark-submit only reports -------------------------------------------------------

leave() {
    trap - EXIT
    echo "spark-submit.sh: no longer watching; the job goes on. Its nodes may still need $room: remove it once the job has ended" >&2
    kill "$child" 2>/dev/null || true
    exit 130
}

run_there() {
    mkfifo "$room/said"
    tee "$room/log" <"$room/said" >&2 &
    local echoing=$!
    "$SPARK_HOME/bin/spark-submit" "${arguments[@]}" 2>"$room/said" &
    child=$!
    trap leave INT TERM HUP
    local code=0 told
    wait "$child" || code=$?
    wait "$echoing"
    # spark-submit turns every failure into 1 (YARN) or 0 (Kubernetes); the job's own code is in what it said. A job that
    # never got so far, or was killed, is trouble of the cluster.
    ((code == 0)) || code=3
    told=$(sed -nE 's/.*(User application exited with status|exit code:) ([0-9]+).*/\2/p' "$room/log" | tail -n 1)
    exit "${told:-$code}"
}

case "$target" in
local | yarn-client) run_here ;;
*) run_there ;;
esac
