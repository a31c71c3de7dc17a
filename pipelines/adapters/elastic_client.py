"""A client of Elasticsearch whose errors are ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from elasticsearch import ApiError, Elasticsearch, TransportError

from pipelines.errors import SinkUnavailable, UsageError
from pipelines.settings import ElasticsearchSettings

T = TypeVar("T")


class ElasticClient:
    """One cluster. ``call`` raises SinkUnavailable when it does not answer, UsageError when the request is wrong."""

    def __init__(self, settings: ElasticsearchSettings) -> None:
        password = settings.password.get_secret_value() if settings.password else ""
        auth = (settings.username, password) if settings.username else None
        self.url = settings.url
        self.raw = Elasticsearch(settings.url, basic_auth=auth, request_timeout=60, max_retries=0)

    def call(self, request: Callable[[], T]) -> T:
        """The answer of a request made with ``raw``."""
        try:
            return request()
        except ApiError as error:
            if error.status_code == 400:
                raise UsageError(f"Elasticsearch at {self.url} refuses the request: {error}") from error
            raise SinkUnavailable("Elasticsearch", self.url, f"{error.status_code} {error.error}") from error
        except TransportError as error:
            raise SinkUnavailable("Elasticsearch", self.url, str(error)) from error
