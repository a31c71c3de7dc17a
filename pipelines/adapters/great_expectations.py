"""Great Expectations on Spark: runs one suite per asset and keeps its results and pages in one folder.

Import it only where it is needed: the library takes two seconds to start.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import great_expectations as gx
from great_expectations.core.run_identifier import RunIdentifier
from great_expectations.data_context.types.base import DataContextConfig
from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
from pyspark.sql import DataFrame

from pipelines.errors import Unavailable, UsageError, innermost_cause
from pipelines.quality import pages
from pipelines.quality.expectation import Asset, Expectation
from pipelines.quality.result import Checked, State, found_text

_NO_VALUES = {"result_format": "BASIC", "partial_unexpected_count": 0}
"""Counts only: values may be personal, and looking for them would read the day once more for each expectation."""

_SITE, _RESULTS = "pages", "results"


class GreatExpectations:
    """Checks frames, and writes the Data Docs of all runs below ``folder``; nothing else, and nothing elsewhere."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        logging.getLogger("great_expectations").setLevel(logging.ERROR)

    def check(self, day: date, frames: Mapping[Asset, DataFrame], wanted: Sequence[Expectation]) -> dict[str, Checked]:
        """Id → outcome of every expectation, each about one of ``frames``; pages of this run and the index are written.

        Raises UsageError if the folder can't be written, Unavailable if Spark could not read what it had to.
        """
        run = RunIdentifier(run_name=day.isoformat(), run_time=datetime.now(UTC))
        found: dict[str, Checked] = {}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            context = self._context()
            for asset in dict.fromkeys(one.of for one in wanted):
                mine = [one for one in wanted if one.of is asset]
                found |= _outcomes(mine, _run(context, run, asset, frames[asset], mine))
            self._write_pages(context)
        except OSError as error:
            if error.filename is None:  # not of a file: the connection to Spark, say
                raise
            raise UsageError(f"can't write the pages to {self._folder}: {error.strerror or error}") from error
        return found

    @property
    def index(self) -> Path:
        """The page to begin with."""
        return self._folder / "index.html"

    def _write_pages(self, context: Any) -> None:
        """Those of this call, made to open without network, and its results; older ones stay as they are."""
        store = context.validation_results_store
        keys = store.list_keys()
        context.build_data_docs(build_index=False)
        for path in (self._folder / "expectations").rglob("*.html"):
            _rewrite(path)
        for key in keys:
            place = Path(*key.to_tuple())
            _rewrite(self._folder / "validations" / place.with_suffix(".html"))
            result = self._folder / _RESULTS / place.with_suffix(".json")
            result.parent.mkdir(parents=True, exist_ok=True)
            result.write_text(json.dumps(store.get(key).to_json_dict()), encoding="utf-8")
        self._write_index()

    def _write_index(self) -> None:
        results = self._folder / _RESULTS
        listed = [_page(path.relative_to(results), json.loads(path.read_text())) for path in results.rglob("*.json")]
        self.index.write_text(pages.index(listed), encoding="utf-8")

    def _context(self) -> Any:
        """A context of this call, which writes pages and nothing else; no analytics, no bars.

        Results are not kept by it: it would keep those of a run that Spark broke off as failed expectations.
        """
        memory = {"class_name": "InMemoryStoreBackend"}
        config = DataContextConfig(
            analytics_enabled=False,
            progress_bars={"globally": False},
            stores={
                "expectations_store": {"class_name": "ExpectationsStore", "store_backend": memory},
                "checkpoint_store": {"class_name": "CheckpointStore", "store_backend": memory},
                "validation_definition_store": {"class_name": "ValidationDefinitionStore", "store_backend": memory},
                "validation_results_store": {"class_name": "ValidationResultsStore", "store_backend": memory},
            },
            expectations_store_name="expectations_store",
            checkpoint_store_name="checkpoint_store",
            validation_results_store_name="validation_results_store",
            data_docs_sites={
                _SITE: {
                    "class_name": "SiteBuilder",
                    "show_how_to_buttons": False,
                    "store_backend": {
                        "class_name": "TupleFilesystemStoreBackend",
                        "base_directory": str(self._folder),
                    },
                }
            },
        )
        return gx.get_context(project_config=config, mode="ephemeral")


def _run(context: Any, run: RunIdentifier, asset: Asset, frame: DataFrame, wanted: Sequence[Expectation]) -> list[Any]:
    """The results of one suite on one frame."""
    source = context.data_sources.add_or_update_spark(asset.value, persist=False)
    batch = source.add_dataframe_asset(asset.value).add_batch_definition_whole_dataframe("day")
    # as objects: of configurations a suite keeps only the last one of a type and column, without a word
    expectations = [_configuration(one).to_domain_obj() for one in wanted]
    suite = context.suites.add(gx.ExpectationSuite(name=asset.value, expectations=expectations))
    definition = gx.ValidationDefinition(name=asset.value, data=batch, suite=suite)
    result = context.validation_definitions.add(definition).run(
        batch_parameters={"dataframe": frame}, result_format=_NO_VALUES, run_id=run
    )
    return list(result.results)


def _configuration(one: Expectation) -> ExpectationConfiguration:
    return ExpectationConfiguration(
        type=one.type,
        kwargs=dict(one.arguments),
        severity=one.severity.value,
        notes=f"{one.id} ({one.severity.value}): {one.means}",
        meta={"id": one.id},
    )


def _outcomes(wanted: Sequence[Expectation], results: Sequence[Any]) -> dict[str, Checked]:
    """Raises Unavailable for a figure that could not be computed: the columns exist, so it was not the question."""
    by_id = {result.expectation_config.meta["id"]: result for result in results}
    return {one.id: _outcome(one, by_id[one.id]) for one in wanted}


def _outcome(one: Expectation, result: Any) -> Checked:
    if raised := _exception(result.exception_info or {}):
        raise Unavailable("a server that Spark needs", f"{one.of.value} of the day", innermost_cause(Exception(raised)))
    state = State.PASSED if result.success else State.FAILED
    return Checked(one, state, found_text(one, result.result))


def _exception(info: Mapping[str, Any]) -> str | None:
    """What was raised: directly, or for one of the figures that the expectation is made of."""
    if info.get("raised_exception"):
        return str(info.get("exception_message") or info.get("exception_traceback"))
    nested = (_exception(part) for part in info.values() if isinstance(part, Mapping))
    return next(filter(None, nested), None)


def _rewrite(path: Path) -> None:
    path.write_text(pages.offline(path.read_text(encoding="utf-8")), encoding="utf-8")


def _page(place: Path, result: Mapping[str, Any]) -> pages.Page:
    """``place``: of the result, suite/day/time/batch.json; its page has the same one."""
    suite, day, at = place.parts[:3]
    counts = result["statistics"]
    return pages.Page(
        day=day,
        at=f"{datetime.strptime(at, '%Y%m%dT%H%M%S.%fZ').replace(tzinfo=UTC):%F %T}",
        suite=suite,
        place=str(Path("validations") / place.with_suffix(".html")),
        is_success=bool(result["success"]),
        failed=counts["unsuccessful_expectations"],
        evaluated=counts["evaluated_expectations"],
    )
