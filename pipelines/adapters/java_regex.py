"""Ask the JVM whether it compiles a rule: the second line of defence behind ``pipelines.contracts.regex``."""

from __future__ import annotations

from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import IllegalArgumentException
from pyspark.sql import SparkSession

from pipelines.contracts.rule_file import Refusal
from pipelines.contracts.rules import Pattern, Rule
from pipelines.ingest.predicates import java_regex


def java_refusal(spark: SparkSession) -> Refusal:
    """What the driver's Java has against the regular expression of a rule, in the words that the projection uses.

    Which of the two exceptions arrives depends on whether pyspark has put its own translation into py4j yet.
    """
    jvm: Any = spark.sparkContext._jvm

    def refusal(rule: Rule) -> str | None:
        if not isinstance(rule, Pattern):
            return None
        try:
            jvm.java.util.regex.Pattern.compile(java_regex(rule))
        except (IllegalArgumentException, Py4JJavaError) as error:
            message = error.java_exception.getMessage() if isinstance(error, Py4JJavaError) else str(error)
            return f"Java refuses the regex {rule.regex!r}: {message.splitlines()[0]}"
        return None

    return refusal
