"""What is told of an error of the connector to Elasticsearch."""

from __future__ import annotations

import pytest

from pipelines.adapters.elastic import _reason

PREAMBLE = (
    "org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 161.0 failed 1 times, most "
    "recent failure: Lost task 0.0 in stage 161.0 (TID 566) (192.0.2.2 executor driver): "
)
REJECTED = "es_rejected_execution_exception: rejected execution of coordinating operation"
RAISED = f"org.elasticsearch.hadoop.rest.EsHadoopRemoteException: {REJECTED}"


def test_the_reason_comes_before_it_is_cut() -> None:
    assert _reason(PREAMBLE + RAISED).endswith(REJECTED)


@pytest.mark.parametrize("text", ["Caused by: 192.0.2.9", "EsHadoop 192.0.2.9", "x\u2028Caused by: 192.0.2.9"])
def test_no_document_is_told(text: str) -> None:
    documents = f'{{"index":{{"_id":"1"}}}}\n{{"client_ip":"192.0.2.9","error_message":"{text}"}}\n'
    assert _reason(f"{PREAMBLE}{RAISED}\n{documents}\n\tat a.b.C\n\nDriver stacktrace:").endswith(REJECTED)


def test_the_innermost_cause_is_told() -> None:
    cause = "Caused by: org.elasticsearch.hadoop.rest.EsHadoopNoNodesLeftException: all nodes failed"
    assert _reason(f"{PREAMBLE}{RAISED}\n\tat a.b.C\n{cause}\n\t... 12 more").endswith("all nodes failed")


def test_an_error_of_somebody_else_is_told_as_it_is() -> None:
    assert _reason("java.lang.IllegalStateException: stopped\n\tat a.b.C") == "java.lang.IllegalStateException: stopped"
