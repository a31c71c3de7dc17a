"""The routes of API6: what they are asked for, how long they take, how often they fail. Order is popularity."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Route:
    """One route. ``{}`` in the template is an id; ``methods`` are weighted by position, the first counts most.

    ``median_ms`` and ``sigma`` describe the log-normal latency, ``payload`` the median response in bytes and
    ``errors`` the share of answers with 4xx or 5xx.
    """

    template: str
    methods: tuple[str, ...]
    median_ms: float
    sigma: float
    payload: int
    errors: float


_READ, _WRITE = ("GET", "HEAD", "OPTIONS"), ("POST", "OPTIONS")
_ITEM = ("GET", "PUT", "PATCH", "DELETE")

ROUTES = (
    Route("/api6/v1/sessions/{}", _ITEM, 18, 0.5, 640, 0.030),
    Route("/api6/v1/products", _READ, 45, 0.6, 18_000, 0.006),
    Route("/api6/v1/products/{}", _READ, 22, 0.5, 3_200, 0.020),
    Route("/api6/v1/search", ("GET", "POST"), 120, 0.8, 24_000, 0.012),
    Route("/api6/v1/carts/{}", _ITEM, 30, 0.6, 2_400, 0.018),
    Route("/api6/v1/carts/{}/items", _WRITE, 38, 0.6, 900, 0.025),
    Route("/api6/v1/customers/{}", _ITEM, 28, 0.5, 1_500, 0.022),
    Route("/api6/v1/auth/token", _WRITE, 65, 0.4, 1_100, 0.060),
    Route("/api6/v1/prices/{}", _READ, 9, 0.4, 300, 0.008),
    Route("/api6/v1/stock/{}", _READ, 14, 0.5, 220, 0.010),
    Route("/api6/v1/orders", ("POST", "GET"), 210, 0.7, 4_200, 0.028),
    Route("/api6/v1/orders/{}", _ITEM, 40, 0.6, 3_900, 0.016),
    Route("/api6/v1/orders/{}/status", _READ, 12, 0.4, 180, 0.009),
    Route("/api6/v1/recommendations/{}", _READ, 95, 0.9, 7_500, 0.014),
    Route("/api6/v1/reviews/{}", ("GET", "POST"), 33, 0.6, 5_600, 0.011),
    Route("/api6/v1/images/{}", _READ, 16, 0.8, 96_000, 0.013),
    Route("/api6/v1/payments", _WRITE, 480, 0.6, 800, 0.048),
    Route("/api6/v1/payments/{}", _READ, 55, 0.5, 1_000, 0.015),
    Route("/api6/v1/shipments/{}", _ITEM, 48, 0.6, 1_300, 0.017),
    Route("/api6/v1/shipments/{}/tracking", _READ, 160, 1.0, 2_100, 0.035),
    Route("/api6/v1/categories", _READ, 11, 0.4, 6_400, 0.003),
    Route("/api6/v1/coupons/{}", ("GET", "POST"), 20, 0.5, 260, 0.090),
    Route("/api6/v1/wishlists/{}", _ITEM, 26, 0.5, 1_900, 0.014),
    Route("/api6/v1/notifications/{}", ("GET", "PATCH"), 19, 0.5, 700, 0.010),
    Route("/api6/v1/addresses/{}", _ITEM, 24, 0.5, 450, 0.019),
    Route("/api6/v1/invoices/{}/pdf", ("GET",), 620, 0.7, 140_000, 0.031),
    Route("/api6/v1/returns", _WRITE, 130, 0.6, 950, 0.042),
    Route("/api6/v1/suppliers/{}", _ITEM, 35, 0.5, 2_700, 0.012),
    Route("/api6/v1/reports/daily", ("GET", "POST"), 2_400, 0.8, 310_000, 0.055),
    Route("/api6/v1/exports", _WRITE, 3_800, 0.7, 500, 0.064),
    Route("/api6/v1/webhooks/{}", ("POST", "DELETE"), 75, 0.7, 120, 0.038),
    Route("/health", ("GET", "HEAD"), 2, 0.3, 15, 0.001),
)

SUCCESS = {
    "GET": (200, 200, 200, 200, 200, 200, 200, 304),
    "HEAD": (200,),
    "OPTIONS": (204,),
    "POST": (201, 201, 200, 202),
    "PUT": (200, 204),
    "PATCH": (200, 200, 204),
    "DELETE": (204, 204, 202),
}

FAILURE = (404, 404, 404, 404, 400, 400, 401, 401, 403, 409, 422, 422, 429, 429, 500, 500, 502, 503, 503, 504)

SLOWNESS = {429: 0.1, 401: 0.3, 400: 0.4, 403: 0.4, 404: 0.5, 500: 2.5, 502: 4.0, 503: 6.0}
"""Latency of a status as a multiple of the route's; 504 is a time-out, see TIMEOUT_MS."""

TIMEOUT_MS = 30_000

REASONS = {
    400: ("malformed query parameter 'limit'", "body is not valid JSON at line 1 column 17", "Ungültiges Datumsformat"),
    401: ("token expired", "missing Authorization header", "signature does not match"),
    403: ("scope orders:write required", "tenant is suspended"),
    404: ("no such resource", "商品が見つかりません", "ressource introuvable"),
    409: ("version conflict: expected etag 7, found 9", "already paid"),
    422: ("quantity must be positive", "el código postal no es válido", "currency EUR not offered here"),
    429: ("rate limit of 100 requests per second exceeded",),
    500: ("NullPointerException at PriceService.java:214", "unexpected end of stream", "deadlock detected, gave up"),
    502: ("upstream closed the connection", "bad gateway: inventory-7"),
    503: ("circuit open: payments", "pool exhausted after 5000 ms ⏱"),
    504: ("upstream did not answer within 30000 ms", "時間切れ"),
}

AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/126.0.0.0 Mobile Safari/537.36",
    None,
    "okhttp/4.12.0",
    "python-requests/2.32.3",
    "API6-SDK/3.4.1 (Java 17; Linux)",
    "Einkaufs-App/8.2 (Größe=XL; für Händler)",
    "Boutique Élysée/5.1 (français; Android 13)",
    "買い物アプリ/4.0 (日本語; iOS 17)",
    "购物车/7.3.0 (小米; MIUI 14)",
    "ShopBot 🛒/1.9 (+https://example.com/bot)",
    "кабинет-поставщика/2.0",
    "سوق/1.4 (العربية)",
    "curl/8.8.0",
    "Go-http-client/2.0",
    "👩🏽‍💻 dev-console/0.3",
)
"""User agents by popularity; None is a client that sends none."""
