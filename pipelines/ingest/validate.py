"""Compile a rule set into one Spark projection and judge every decoded record (laws 5, 7 and 9).

The hot path carries one bit per rule in a long; names, messages and values are looked up for broken rows only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipelines.contracts import rules as r
from pipelines.contracts.canonical import NULL, SEPARATOR
from pipelines.contracts.evaluate import MASK, SHOWN_CHARS
from pipelines.ingest.codegen import border
from pipelines.ingest.decode import fault, precisely
from pipelines.ingest.predicates import is_broken
from pipelines.records import LOG_FIELDS, Severity, Stage

MIN_TIMESTAMP_MS = -62_135_596_800_000
MAX_TIMESTAMP_MS = 253_402_300_799_999
"""0001-01-01 to 9999-12-31: what a SQL timestamp can show. Beyond it no rule is needed to call the value wrong."""

_NOT_UTF8, _UNSHOWABLE, _MISSING = (1 << (r.MAX_RULES + k) for k in range(3))
"""Bits of ``broken`` that no rule has: not UTF-8, a timestamp that SQL can't show, null where none may be."""

_ROOM, _RULE = 80, 4
"""What a piece of generated code has room for: a rule takes 4, a column behind the ten 1 (230 and 60 bytes)."""

VIOLATION = "struct<code:string,field:string,message:string,severity:string,rule_fingerprint:string>"


def validate(rules: r.RuleSet, never_null: Sequence[str] = (), added: int = 0) -> Callable[[DataFrame], DataFrame]:
    """Add ``content_hash`` (long) and ``broken`` (long: bit k = rule k, the three highest bits = schema problems).

    In: the columns of ``decode`` and ``kafka_timestamp``. Both are null where the value does not decode.
    ``never_null``: fields to hold against null because not every schema does. ``added``: how many fields there are
    behind the ten.
    """
    is_record = F.col("spare") == 0
    text = canonical().alias("_canonical")
    content_hash = F.when(is_record, F.crc32(F.col("_canonical").cast("binary"))).alias("content_hash")
    first, *others = _masks(rules, max(1, (_ROOM - added) // _RULE))
    broken = F.when(is_record, first + _schema_mask(never_null)).alias("broken")

    def transform(frame: DataFrame) -> DataFrame:
        judged = frame.select("*", text).select(*frame.columns, content_hash, broken)
        for mask in others:
            judged = border(judged).withColumn("broken", F.col("broken") + mask)
        return judged

    return transform


def is_valid(rules: r.RuleSet) -> Column:
    """Whether a validated row decodes, fits the schema and breaks no critical rule."""
    critical = sum(1 << k for k, rule in enumerate(rules.rules) if rule.severity is Severity.CRITICAL)
    return F.coalesce(
        F.col("broken").bitwiseAND(F.lit(critical | _NOT_UTF8 | _UNSHOWABLE | _MISSING).cast("long")) == 0, F.lit(False)
    )


def is_undecodable() -> Column:
    """Whether a judged row is not exactly one record in UTF-8: what ``explain`` may be asked about."""
    return F.coalesce(F.col("broken").isNull() | _has(_NOT_UTF8), F.lit(True))


def problem(decode_problem: Column, never_null: Sequence[str] = ()) -> Column:
    """Why a judged row is no record of the schema: struct<stage, code, field, message>, null where it is one.

    ``decode_problem`` is asked about rows that do not decode. In: ``explained`` (see ``explain``).
    """
    unshowable = fault(
        Stage.SCHEMA,
        "timestamp_unrepresentable",
        "timestamp",
        "timestamp is no date of the years 1 to 9999: ",
        F.coalesce(F.col("timestamp").cast("string"), F.lit("null")),
    )
    is_undecoded = F.col("broken").isNull()
    found = F.when(is_undecoded, decode_problem).when(_has(_NOT_UTF8), precisely())
    for name in never_null:
        missing = fault(Stage.SCHEMA, "missing_field", name, f"{name} is null; every API6 log has one")
        found = found.when(_has(_MISSING) & F.col(name).isNull(), missing)
    return found.when(_has(_UNSHOWABLE), unshowable)


def violations(rules: r.RuleSet) -> Column:
    """All violations of a judged row, critical and warning, in file order; an empty array where there are none (law 5).

    In: the ten fields, ``broken`` and ``problem``.
    """
    of_decoding = F.struct(
        F.col("problem")["code"].alias("code"),
        F.col("problem")["field"].alias("field"),
        F.col("problem")["message"].alias("message"),
        F.lit(Severity.CRITICAL.value).alias("severity"),
        F.lit(None).cast("string").alias("rule_fingerprint"),
    )
    of_problem = F.when(F.col("problem").isNotNull(), F.array(of_decoding)).otherwise(_none())
    return F.concat(of_problem, rule_violations(rules))


def rule_violations(rules: r.RuleSet) -> Column:
    """Violations of rules alone: on a valid row these are its warnings. Built only where a bit is set.

    Of a record that is not UTF-8 only the rules on numbers are named: a text of it can neither be judged nor shown.
    """

    def named(k: int, rule: r.Rule) -> Column:
        return breaks(k) if _is_on_numbers(rule) else breaks(k) & ~_has(_NOT_UTF8)

    of_rules = F.array(*(F.when(named(k, rule), _violation(rule, rules)) for k, rule in enumerate(rules.rules)))
    return F.when(F.col("broken") != 0, F.filter(of_rules, lambda v: v.isNotNull())).otherwise(_none())


def critical(found: Column) -> Column:
    """Those of an array of violations that refuse a row; the others are warnings, which valid rows have too."""
    return F.filter(found, lambda v: v["severity"] == Severity.CRITICAL.value)


def breaks(k: int) -> Column:
    """Whether a validated row breaks rule ``k`` of the set; null where the value does not decode."""
    return _has(1 << k)


def found(rule: r.Rule, rules: r.RuleSet) -> Column:
    """The offending value as a message shows it: shortened, and masked where it is personal (see evaluate._found)."""
    if not isinstance(rule, r.Compare):
        return _shown(rule.field, masked=rule.field in rules.personal)
    masked = rule.field in rules.personal or rule.other in rules.personal
    return F.concat(_shown(rule.field, masked=masked), F.lit(f"; {rule.other} is "), _shown(rule.other, masked=masked))


def _none() -> Column:
    return F.array().cast(f"array<{VIOLATION}>")


def canonical() -> Column:
    """The ten fields in the form that ``content_hash`` is made of (law 8)."""
    parts: list[Column] = []
    for name in LOG_FIELDS:
        parts += [F.lit(SEPARATOR), F.coalesce(F.col(name).cast("string"), F.lit(NULL))]
    return F.concat(*parts[1:])


def _schema_mask(never_null: Sequence[str]) -> Column:
    is_text = F.encode("_canonical", "UTF-8") == F.col("_canonical").cast("binary")
    is_showable = F.coalesce(F.col("timestamp").between(MIN_TIMESTAMP_MS, MAX_TIMESTAMP_MS), F.lit(False))
    mask = _bit(~is_text, _NOT_UTF8) + _bit(~is_showable, _UNSHOWABLE)
    if never_null:
        is_missing = reduce(lambda one, other: one | other, (F.col(name).isNull() for name in never_null))
        mask += _bit(is_missing, _MISSING)
    return mask


def _masks(rules: r.RuleSet, size: int) -> list[Column]:
    """The bits of so many rules at a time; at least one mask."""
    bits = [_bit(is_broken(rule), 1 << k) for k, rule in enumerate(rules.rules)]
    pieces = [bits[at : at + size] for at in range(0, max(1, len(bits)), size)]
    return [reduce(Column.__add__, piece, F.lit(0).cast("long")) for piece in pieces]


def _bit(condition: Column, bit: int) -> Column:
    return F.when(condition, F.lit(bit).cast("long")).otherwise(F.lit(0).cast("long"))


def _has(bit: int) -> Column:
    return F.col("broken").bitwiseAND(F.lit(bit).cast("long")) != 0


def _is_on_numbers(rule: r.Rule) -> bool:
    """Whether the verdict depends on no text. Equality is left out: it may be one of texts."""
    is_of_numbers = isinstance(rule, r.Range | r.TimeWindow) or (isinstance(rule, r.Compare) and rule.op in r.ORDERING)
    return is_of_numbers and (rule.when is None or rule.when.one_of is None)


def _shown(field: str, *, masked: bool) -> Column:
    value = F.col(field)
    text = F.lit(MASK) if masked else F.substring(value.cast("string"), 1, SHOWN_CHARS)
    return F.when(value.isNull(), "null").otherwise(text)


def _violation(rule: r.Rule, rules: r.RuleSet) -> Column:
    return F.struct(
        F.lit(rule.id).alias("code"),
        F.lit(rule.field).alias("field"),
        F.concat(F.lit(f"{rule.message} (found "), found(rule, rules), F.lit(")")).alias("message"),
        F.lit(rule.severity.value).alias("severity"),
        F.lit(rule.fingerprint).alias("rule_fingerprint"),
    )
