"""The template of the route that took a request, as each framework tells it: ``/v6/orders/{id}``, never a raw path."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

from sdk.capture import ROUTE_KEY, UNMATCHED

log = logging.getLogger(__name__)

REST = "/{path}"
"""What follows the path of a mount whose application does not say more, such as static files."""

MAX_TEMPLATE = 2048
"""Characters. Source: conf/rules/api6-logs.yaml."""

_TYPED = re.compile(r"\{([^{}:]+):[^{}]*\}")
_ANGLED = re.compile(r"<(?:[^<>:]+:)?([^<>:]+)>")


def of_scope(scope: Mapping[str, Any]) -> str:
    """The template after the application was called: the frameworks write what they found into the scope."""
    try:
        return _found(scope)
    except Exception as error:  # noqa: BLE001 - a release of a framework that is unlike all others must not fail requests
        return _untold(error)


def _found(scope: Mapping[str, Any]) -> str:
    own = scope.get(ROUTE_KEY)
    if own is not None:
        return normal(own)
    if "route_handler" in scope:
        return _of_litestar(scope)
    if scope.get("app_root_path") is None or scope["app_root_path"] == scope.get("root_path"):
        return _leaf(scope, scope.get("router"))
    return _mounted(scope)


def _untold(error: Exception) -> str:
    with suppress(Exception):  # of the error's text, or of the service's log handlers
        _say(type(error).__name__, str(error))
    return UNMATCHED


@lru_cache(64)
def _say(kind: str, text: str) -> None:
    """Once for each kind of trouble."""
    log.warning("the route of a request can't be told: %s: %s; it is logged as %s", kind, text, UNMATCHED)


def of_environ(environ: Mapping[str, Any]) -> str:
    """The template after the application was called: Flask leaves its request in the environ."""
    try:
        own = environ.get(ROUTE_KEY)
        if own is None:
            own = getattr(getattr(environ.get("werkzeug.request"), "url_rule", None), "rule", None)
        return normal(own) if isinstance(own, str) else UNMATCHED
    except Exception as error:  # noqa: BLE001 - the same; a request that is a proxy may have lost what it stands for
        return _untold(error)


@lru_cache(4096)
def normal(template: str) -> str:
    """One spelling for all frameworks: ``{id}`` for ``{id:int}`` and ``<int:id>``, and a slash at the beginning."""
    plain = _ANGLED.sub(r"{\1}", _TYPED.sub(r"{\1}", template))
    return (plain if plain.startswith("/") else f"/{plain}")[:MAX_TEMPLATE]


def _of_litestar(scope: Mapping[str, Any]) -> str:
    template, handler = scope.get("path_template"), scope["route_handler"]
    if template:
        return normal(template)
    if getattr(handler, "is_mount", False):  # has paths, and no template
        return normal(min(handler.paths).rstrip("/") + REST)
    return normal(scope["path"])  # older releases give templates only to routes with parameters


def _leaf(scope: Mapping[str, Any], router: Any) -> str:
    """Starlette's and FastAPI's own route, within the innermost application."""
    included = scope.get("fastapi", {}).get("effective_route_context")  # knows the prefixes of included routers
    route = scope.get("route")
    if included is not None and (route is None or included.original_route is route):
        return normal(getattr(included.starlette_route, "path_format", None) or included.path_format)
    if route is None:
        route = _by_endpoint(getattr(router, "routes", ()), scope)
    if route is None:
        return UNMATCHED
    path = getattr(route, "path_format", None)
    return UNMATCHED if path is None else normal(path)


def _mounted(scope: Mapping[str, Any]) -> str:
    """The templates of the mounts that were passed, then that of the route.

    A mount's own path may have parameters, so the scope's root path will not do.
    """
    above, root = scope["app_root_path"], scope.get("root_path", "")
    rest = root.removeprefix(above)
    router, found = scope.get("router"), ""
    while rest:
        mount = next((m for m in _mounts(router) if _takes(m, rest)), None)
        if mount is None:
            return UNMATCHED if not found else normal(found + REST)
        rest = rest[_taken(mount, rest) :]
        found, router = found + mount.path, mount
    leaf = _leaf(scope, router)
    is_mount = hasattr(scope.get("route"), "app") and hasattr(scope.get("route"), "routes")
    return normal(found + (REST if leaf == UNMATCHED or is_mount else leaf))


def _mounts(router: Any) -> Iterable[Any]:
    return (r for r in getattr(router, "routes", ()) if hasattr(r, "routes") and hasattr(r, "path_regex"))


def _takes(mount: Any, rest: str) -> bool:
    return bool(mount.path) and mount.path_regex.match(f"{rest}/") is not None


def _taken(mount: Any, rest: str) -> int:
    """Characters of ``rest`` that are the mount's own."""
    match = mount.path_regex.match(f"{rest}/")
    return int(match.start("path")) - 1


def _by_endpoint(routes: Iterable[Any], scope: Mapping[str, Any]) -> Any:
    """For releases of Starlette that leave the endpoint only, which several routes may share."""
    endpoint, path = scope.get("endpoint"), scope["path"].removeprefix(scope.get("root_path", ""))
    own = (r for r in routes if endpoint is not None and getattr(r, "endpoint", None) is endpoint)
    return next((r for r in own if r.path_regex.match(path)), None)
