"""Comparisons and conditions: both evaluators say the same of every edge, whatever the types of the columns."""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.adapters.java_regex import java_refusal
from pipelines.contracts import regex
from pipelines.contracts.evaluate import evaluator
from pipelines.contracts.evolution import merge
from pipelines.contracts.rules import Pattern, RuleSet
from pipelines.ingest.decode import decode_problem
from pipelines.ingest.explain import explain
from pipelines.ingest.judge import judge
from pipelines.ingest.validate import problem, rule_violations, validate, violations
from tests.spark.test_judge import FEW, SCHEMA, SOURCE, framed, many, records
from tests.world import NOW_MS, record

COLUMNS = """timestamp bigint, request_id string, api_endpoint string, http_method string, status_code int,
    response_time_ms int, client_ip string, user_agent string, payload_size int, error_message string,
    kafka_timestamp timestamp, spare int, i int, n bigint, m bigint, f float, g float, d double, e double,
    s string, t string"""
AT = datetime.fromtimestamp(NOW_MS / 1000, UTC)
NAN, INF = float("nan"), float("inf")

EXACT = [2**24, 2**24 + 1, 2**53, 2**53 + 1, 2**63 - 1]
longs = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1, 500, *EXACT, *(-n for n in EXACT), -(2**63)])
doubles = st.floats() | st.sampled_from([0.0, -0.0, 1.0, 500.0, NAN, INF, -INF, *map(float, EXACT), 2.0**63])
singles = doubles.map(lambda x: _single(x))
texts = st.sampled_from(["", " ", "a", "A", "é", "e\u0301", "🦊"])
rows = st.fixed_dictionaries(
    {
        "i": st.none() | st.integers(-(2**31), 2**31 - 1) | st.sampled_from([0, 1, 500, 2**24, 2**24 + 1]),
        "n": st.none() | longs,
        "m": st.none() | longs,
        "f": st.none() | singles,
        "g": st.none() | singles,
        "d": st.none() | doubles,
        "e": st.none() | doubles,
        "s": st.none() | texts,
        "t": st.none() | texts,
    }
)


def _single(x: float) -> float:
    """The float nearest to a double."""
    try:
        return float(struct.unpack("f", struct.pack("f", x))[0])
    except OverflowError:
        return INF if x > 0 else -INF


def rule(number: int, check: str, field: str, **rest: Any) -> dict[str, Any]:
    base = {"id": f"r{number}", "field": field, "check": check, "severity": "critical", "message": "m", "owner": "us"}
    return base | rest


def sets_of(rules: Sequence[dict[str, Any]]) -> list[RuleSet]:
    """As many sets as it takes: one holds 60."""
    numbered = [one | {"id": f"r{n}"} for n, one in enumerate(rules)]
    return [RuleSet(subject="s", rules=tuple(numbered[n : n + 60])) for n in range(0, len(numbered), 60)]


PAIRS = [
    ("n", "m"),
    ("i", "n"),
    ("f", "g"),
    ("d", "e"),
    ("f", "d"),
    ("n", "f"),
    ("f", "n"),
    ("n", "d"),
    ("d", "n"),
    ("i", "f"),
]
COMPARISONS = [
    *(rule(0, "compare", a, op=op, other=b) for a, b in PAIRS for op in ("<", "<=", "=", "!=", ">=", ">")),
    *(rule(0, "compare", "s", op=op, other="t") for op in ("=", "!=")),
]
BOUNDS = [0, 500, *EXACT, -(2**63)]
RANGES = [rule(0, "range", field, **{end: bound}) for field in "infd" for bound in BOUNDS for end in ("min", "max")]
CONDITIONS = [
    *({"field": field, "present": present} for field in "nfds" for present in (True, False)),
    *(
        {"field": field, end: bound}
        for field in "infd"
        for bound in (500, 2**24 + 1, 2**53 + 1)
        for end in ("min", "max")
    ),
    *({"field": field, "min": 0, "max": 500, "present": True} for field in "ifd"),
    {"field": "s", "one_of": ["", "é", "🦊"]},
]
CONDITIONAL = [rule(0, "required", "t", when=when) for when in CONDITIONS]
CONDITIONAL += [rule(0, "compare", "n", op="<", other="d", when={"field": "n", "max": 500})]


def codes_in_spark(spark: SparkSession, rules: RuleSet, values: Sequence[dict[str, Any]]) -> list[list[str]]:
    full = [(*record().values(), AT, 0, *(value[name] for name in "inmfgdest")) for value in values]
    frame = spark.createDataFrame(full, COLUMNS).coalesce(1).transform(validate(rules))
    return [[v["code"] for v in row[0]] for row in frame.select(rule_violations(rules)).collect()]


def agree(spark: SparkSession, values: Sequence[dict[str, Any]]) -> None:
    """Both evaluators name the same rules for every row."""
    for rules in sets_of([*COMPARISONS, *RANGES, *CONDITIONAL]):
        in_python = evaluator(rules)
        for value, found in zip(values, codes_in_spark(spark, rules, values), strict=True):
            wanted = [v.code for v in in_python(value, NOW_MS)]
            assert found == wanted, (value, [one for one in rules.rules if (one.id in found) != (one.id in wanted)])


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(values=many(rows, 20, 100))
def test_both_evaluators_agree_on_numbers_of_every_type(spark: SparkSession, values: list[dict[str, Any]]) -> None:
    agree(spark, values)


def test_both_evaluators_agree_on_windows_of_every_type(spark: SparkSession) -> None:
    rules = RuleSet.model_validate(
        {
            "subject": "s",
            "rules": [
                rule(k, "time_window", field, before_s=60, after_s=before)
                for k, (field, before) in enumerate(itertools.product("infd", (0, 10)))
            ],
        }
    )
    moments = [NOW_MS + d for d in (-60_001, -60_000, -1, 0, 1, 10_000, 10_001, -131_072, 131_072)]
    values: list[dict[str, Any]] = [
        dict.fromkeys("inmfgdest") | {"n": m, "f": _single(m), "d": float(m)} for m in moments
    ]
    values += [dict.fromkeys("inmfgdest") | {"n": n, "f": x, "d": x} for n, x in ((2**63 - 1, NAN), (-(2**63), -INF))]
    in_python = evaluator(rules)
    assert codes_in_spark(spark, rules, values) == [[v.code for v in in_python(value, NOW_MS)] for value in values]


def test_both_evaluators_agree_on_every_pair_of_edges(spark: SparkSession) -> None:
    numbers = [None, 0, 499, 500, 501, *EXACT, *(-n for n in EXACT), -(2**63)]
    fractions = [None, -0.0, 0.5, 499.9, 500.1, NAN, INF, -INF, *(float(n) for n in numbers if n is not None)]
    others = ["", "é", "🦊", None]
    sides = zip(numbers, [*numbers[1:], None], strict=True)
    edges = [(n, m, x, y) for n, m in sides for x, y in itertools.product(fractions, fractions)]
    values = [
        {
            "i": n if n is None or abs(n) < 2**31 else 7,
            "n": n,
            "m": m,
            "f": None if y is None else _single(y),
            "g": None if x is None else _single(x),
            "d": y,
            "e": x,
            "s": others[k % 4],
            "t": others[k // 4 % 4],
        }
        for k, (n, m, x, y) in enumerate(edges)
    ]
    agree(spark, values)


IN_WINDOW = {"field": "timestamp", "min": NOW_MS - 604_800_000, "max": NOW_MS + 3_600_000}
WITH_MESSAGE = {"field": "error_message", "present": True}
VOCABULARY = RuleSet.model_validate(
    {
        "subject": "s",
        "personal": ["user_agent"],
        "rules": [
            rule(0, "required", "error_message", when={"field": "status_code", "min": 500}, severity="warning"),
            rule(1, "compare", "response_time_ms", op="<=", other="payload_size"),
            rule(2, "compare", "status_code", op="!=", other="payload_size", severity="warning"),
            rule(3, "compare", "timestamp", op=">", other="status_code"),
            rule(4, "compare", "request_id", op="!=", other="user_agent"),
            rule(5, "compare", "api_endpoint", op="=", other="error_message", when=WITH_MESSAGE),
            rule(6, "length", "user_agent", max=3, when={"field": "http_method", "one_of": ["GET", "TRACE"]}),
            rule(7, "range", "payload_size", min=1, when={"field": "user_agent", "present": False}),
            rule(8, "time_window", "timestamp", before_s=0, after_s=0, when=IN_WINDOW),
            rule(9, "ip", "client_ip", when={"field": "status_code", "max": 99}),
        ],
    }
)
short = st.sampled_from(["", "a", "🦊", "abcd"])
met_often = records.flatmap(
    lambda value: st.fixed_dictionaries(
        {
            "request_id": short,
            "user_agent": st.none() | short,
            "api_endpoint": short,
            "error_message": st.none() | short,
            "status_code": st.sampled_from([-1, 99, 100, 499, 500, 501]),
            "payload_size": st.sampled_from([-1, 0, 1, 99, 500]),
            "response_time_ms": st.sampled_from([-1, 0, 1, 2]),
        }
    ).map(lambda some: value | some)
)


@FEW
@given(values=many(met_often | records, 40, 80))
def test_comparisons_and_conditions_give_the_same_violations_in_both(
    spark: SparkSession, values: list[dict[str, Any]]
) -> None:
    kafka_rows = [(None, framed(value), "t", 0, n, AT, None) for n, value in enumerate(values)]
    schemas = merge(SCHEMA, {1: SCHEMA})
    judged = spark.createDataFrame(kafka_rows, SOURCE).transform(judge(schemas, VOCABULARY))
    judged = judged.withColumn("explained", explain(schemas)(F.col("value"), F.col("schema_id")))
    named = judged.withColumn("problem", problem(decode_problem(schemas)))
    found = named.orderBy("kafka_offset").select(violations(VOCABULARY).alias("v"), "is_valid").collect()
    in_python = evaluator(VOCABULARY)
    for value, row in zip(values, found, strict=True):
        wanted = in_python(value, NOW_MS)
        of_rules = [tuple(v) for v in row["v"] if v["rule_fingerprint"]]
        assert of_rules == [(v.code, v.field, v.message, v.severity.value, v.rule_fingerprint) for v in wanted]


@pytest.mark.parametrize("name", ["api_endpoint", "error_message"])
def test_texts_of_a_record_that_is_not_utf8_are_neither_compared_nor_conditions(spark: SparkSession, name: str) -> None:
    rules = RuleSet.model_validate(
        {
            "subject": "s",
            "rules": [
                rule(0, "compare", "api_endpoint", op="=", other="error_message"),
                rule(1, "range", "status_code", max=0, when={"field": "http_method", "one_of": ["GET"]}),
                rule(2, "compare", "status_code", op="<", other="payload_size", when={"field": name, "present": True}),
            ],
        }
    )
    odd = record(api_endpoint="/", error_message="x", status_code=600, payload_size=512) | {name: "AAAA"}
    value = framed(odd).replace(b"AAAA", b"\xff\xfe\xc3\x28")
    frame = spark.createDataFrame([(None, value, "t", 0, 0, AT, None)], SOURCE)
    judged = frame.transform(judge(merge(SCHEMA, {1: SCHEMA}), rules))
    [row] = judged.select(rule_violations(rules), "is_valid").collect()
    assert ([v["code"] for v in row[0]], row["is_valid"]) == (["r2"], False)


def test_what_the_type_of_a_field_decides_is_decided_before_the_plan_runs(spark: SparkSession) -> None:
    rules = RuleSet.model_validate(
        {
            "subject": "s",
            "rules": [
                rule(0, "range", "n", min=1_500_000_000_000),
                rule(1, "time_window", "timestamp", before_s=60, after_s=60),
                rule(2, "compare", "n", op="<", other="i"),
            ],
        }
    )
    frame = spark.createDataFrame([(*record().values(), AT, 0, *([None] * 9))], COLUMNS).transform(validate(rules))
    plan = frame.select("broken")._jdf.queryExecution().optimizedPlan().toString()
    assert "1500000000000" in plan
    assert "typeof" not in plan
    assert "as double" not in plan


ODD = [
    "a",
    "b",
    "k",
    "K",
    "\u212a",
    "s",
    "ſ",
    "é",
    "É",
    "\u0301",
    "ß",
    "ı",
    "🦊",
    "🦋",
    "\uffff",
    "_",
    "-",
    "^",
    "]",
    "\\",
]
ODD += [
    "\n",
    "\r",
    "\u0085",
    "\u2028",
    "\u2029",
    "\v",
    "\t",
    " ",
    "\u00a0",
    "\x00",
    "\x1c",
    "0",
    "٣",
    ".",
    "{",
    "}",
    "&",
]
odd_texts = st.text(st.sampled_from(ODD), max_size=8)


def escaped(character: str) -> str:
    """A character as it may be written anywhere."""
    return (
        f"\\{character}" if character.isascii() and not character.isalnum() and character.isprintable() else character
    )


def in_hex(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65_536 else character


characters = st.sampled_from(ODD).flatmap(lambda c: st.sampled_from([escaped(c), escaped(c), in_hex(c)]))
ranges = st.tuples(st.sampled_from(ODD), st.sampled_from(ODD)).map(
    lambda ends: f"{escaped(min(ends))}-{escaped(max(ends))}"
)
classes = st.tuples(
    st.sampled_from(["[", "[^"]), st.lists(characters | ranges, min_size=1, max_size=4), st.sampled_from(["", "-"])
).map(lambda parts: f"{parts[0]}{''.join(parts[1])}{parts[2]}]")
of_one = st.tuples(
    characters | classes | st.just("."),
    st.sampled_from(["", "", "?", "*", "+", "{2}", "{1,}", "{0,2}", "*?", "+?", "??", "{1,3}?", "{2,}?"]),
).map("".join)


def grouped(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    counts = ["", "?", "{2}", "{0,2}", "{1,3}", "??", "{1,2}?"]
    return st.tuples(st.sampled_from(["(", "(?:"]), inner, st.just(")"), st.sampled_from(counts)).map("".join)


def joined(item: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    sequences = st.tuples(st.sampled_from(["", "", "", "^"]), st.lists(item, min_size=1, max_size=3).map("".join))
    return st.lists(sequences.map("".join), min_size=1, max_size=3).map("|".join)


patterns = st.recursive(joined(of_one), lambda inner: joined(of_one | grouped(inner)), max_leaves=6)


def agree_on_patterns(spark: SparkSession, expressions: Sequence[str], values: Sequence[str]) -> None:
    """Both evaluators name the same rules for every text, whether it must be found or match the whole."""
    for one in expressions:
        regex.check(one)
    rules = [rule(0, "pattern", "s", regex=one, whole=whole) for one in expressions for whole in (False, True)]
    rows = [dict.fromkeys("inmfgdest") | {"s": value} for value in values]
    for some in sets_of(rules):
        in_python = evaluator(some)
        for row, found in zip(rows, codes_in_spark(spark, some, rows), strict=True):
            wanted = [v.code for v in in_python(row, NOW_MS)]
            assert found == wanted, (row["s"], [r for r in some.rules if (r.id in found) != (r.id in wanted)])


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(expressions=many(patterns, 5, 15), values=many(odd_texts, 10, 30))
def test_both_evaluators_agree_on_every_pattern_that_is_accepted(
    spark: SparkSession, expressions: list[str], values: list[str]
) -> None:
    agree_on_patterns(spark, expressions, values)


def test_both_evaluators_agree_on_every_character(spark: SparkSession) -> None:
    some = [chr(code) for code in (*range(0x3000), 0x212A, 0xFB05, 0xFFFF, 0x10000, 0x1F98A, 0x10FFFF)]
    expressions = [".", "^a.b", "[^a]", "[a-z]", "[A-Z]", "k", "s", "é", "^É", "[^\\x00-\\x1f]", "[\\u0080-\\uffff]"]
    expressions += ["\\_\\-\\<\\>\\ \\#", "[\\n\\r\\t\\f]", "[ß-ſ]", "a.*b", "[🦊-🦎]", "[^🦊]{2,}", "x|a[^b]b|^y"]
    agree_on_patterns(spark, expressions, [text for c in some for text in (c, f"a{c}b")])


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("(?:[a-z]|-){0,499}", "a-" * 4_000),
        ("[^a]{2,}", "é🦊" * 4_000),
        ("[^a]*b", "é🦊" * 4_000),
        (".{0,1000}.{0,990}", "é🦊" * 990),
        ("(?:/[a-z]+){0,100}", "/" + "a" * 100_000),
        ("[xy]{0,2}z?" * 300, "x" * 600),
        ("(" * 20 + "a" + ")" * 20, "a"),
    ],
)
def test_no_text_overflows_the_stack_of_java(spark: SparkSession, expression: str, text: str) -> None:
    agree_on_patterns(spark, [expression], [text])


@pytest.mark.parametrize("refused", ["^/v6/[a-z]+/{id}", "a{,3}", "(?a)b", "[[a]", r"\0", r"\U0001F600", "(?(1)x|y)"])
def test_java_is_asked_what_it_has_against_a_rule(spark: SparkSession, refused: str) -> None:
    def asked(expression: str) -> str | None:
        return java_refusal(spark)(Pattern.model_validate(rule(0, "pattern", "s", regex=expression)))

    assert asked("^/v6/[a-z]+") is None
    assert re.fullmatch(
        rf"Java refuses the regex {re.escape(repr(refused))}: (Illegal|Unknown|Unclosed)\W.+ near index \d+",
        str(asked(refused)),
    )
