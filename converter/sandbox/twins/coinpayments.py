"""The CoinPayments twin: the current REST API, versions 1 and 2, as `services/coinpayments.md` part B describes it.

A client keeps coins in a wallet, asks for a spend request (a preview that moves nothing), confirms it once, and looks
the transaction up by `spendRequestId` or finds it by `memo`. The confirmation takes no key of the client's own.

Facts from the sheet: three signed headers, checked against the raw body and the whole URL that was called; anonymous
currency and rate calls; problem+json errors; 70 requests a second; a confirmation answers 200 without a body; webhooks
are signed like requests. Inferred here: 202 for a spend request of version 1 and 200 for one of version 2; the list of
transactions is oldest first, fifty long unless told otherwise; a client's webhook is registered as `notificationsUrl`;
a webhook goes out at every change of a transaction's status; over the limit is a problem with status 429. Not served:
version 3, the legacy API, invoices.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any, ClassVar

from converter.sandbox.credentials import COINPAYMENTS_CLIENT_ID
from converter.sandbox.twin import Request, Response, Route, World
from converter.sandbox.twins import coinpayments_auth as auth
from converter.sandbox.twins.coinpayments_assets import Currency, Prices, currency_of, plain
from converter.sandbox.twins.coinpayments_auth import SERVICE_ID, Problem
from converter.sandbox.twins.coinpayments_public import PublicInfo
from converter.sandbox.twins.coinpayments_settings import apply_settings
from converter.sandbox.twins.coinpayments_spends import Spends
from converter.sandbox.twins.coinpayments_views import Transaction, exponent_json
from converter.sandbox.twins.coinpayments_wallets import Wallet, Wallets
from converter.sandbox.wire import JSON, to_json

_REQUESTS_PER_SECOND = 70
_PAGE = 50
_REFUSALS = {
    "quote": (404, "conversionPairDoesNotExist"),
    "order": (400, "conversionPairDoesNotExist"),
    "approve": (400, "currencyIsNotActive"),
}
_CENT = Decimal("0.01")
_WALLET = "/merchant/wallets/(?P<wallet>[^/]+)"
_Handler = Callable[[Request], Response]


class CoinPaymentsTwin:
    """One integration of a merchant with a wallet of every currency; the public fields are set by `configure`."""

    service_id: ClassVar[str] = SERVICE_ID

    def __init__(self, world: World) -> None:
        self.exponent_numbers = False
        self.amount_unit = "decimal"
        self.no_match = "404"
        self.callback_url: str | None = None
        self.public_url: str | None = None
        self.prices = Prices(world)
        self.wallets = Wallets(world)
        self.spends = Spends(world, self.prices, self.wallets, self._notify)
        self._world = world
        self._public = PublicInfo(self.prices)
        self._calls: deque[float] = deque()

    def routes(self) -> list[Route]:
        """The anonymous calls, then the signed ones."""
        public: list[tuple[str, str, Callable[[Request], Any]]] = [
            ("/currencies", "info", self._public.currencies),
            ("/currencies/conversions", "info", self._public.conversions),
            ("/currencies/required-confirmations", "info", self._public.confirmations),
            ("/currencies/limits/(?P<sender>[^/]+)/(?P<receiver>[^/]+)", "quote", self._public.limits),
            ("/currencies/blockchain-nodes/(?P<id>[^/]+)/latest-block-number", "info", self._public.height),
            ("/currencies/(?P<id>[^/]+)", "info", self._public.currency),
            ("/fees/blockchain/(?P<id>[^/]+)", "info", self._public.network_fee),
            ("/rates", "quote", self._public.rates),
        ]
        signed: list[tuple[str, str, str, _Handler]] = [
            ("POST", "/merchant/wallets", "info", self._add_wallet),
            ("GET", "/merchant/wallets", "info", self._show_wallets),
            ("GET", _WALLET, "info", lambda r: Response(200, self._wallet(r).view())),
            ("POST", "/merchant/clients/(?P<client>[^/]+)/webhooks", "info", self._add_webhook),
            ("POST", f"{_WALLET}/spend/request", "order", self._request),
            ("POST", f"{_WALLET}/spend/confirmation", "approve", self._confirm),
            ("GET", f"{_WALLET}/transaction", "status", self._transaction),
            ("GET", f"{_WALLET}/transactions", "status", self._transactions),
        ]
        return [
            *(self._route("GET", path, word, _answering(handle), signed=False) for path, word, handle in public),
            *(self._route(method, path, word, handle, signed=True) for method, path, word, handle in signed),
        ]

    def refusal(self, operation: str) -> Response:
        """A no that proves that nothing was executed; to a look-up one that says nothing about the transaction."""
        return Problem(*_REFUSALS.get(operation, (403, "Forbidden"))).response()

    def tick(self) -> None:
        """See deposits and move the transactions along."""
        self.spends.tick()

    def configure(self, settings: Mapping[str, Any]) -> None:
        """See `coinpayments_settings` for what can be set."""
        apply_settings(self, settings)

    def describe(self) -> dict[str, Any]:
        """Wallets, settings and the transactions that are not at their end."""
        return {
            "balances": {wallet.currency.currency_id: plain(wallet.balance) for wallet in self.wallets},
            "wallets": {wallet.currency.currency_id: wallet.wallet_id for wallet in self.wallets},
            "locked": sorted({wallet.currency.symbol for wallet in self.wallets if wallet.locked}),
            "minimum": {symbol: plain(amount) for symbol, amount in self.prices.minimums.items()},
            "ending": self.spends.ending,
            "preview_seconds": self.spends.preview_seconds,
            "floating": self.spends.floating,
            "final_factor": plain(self.spends.final_factor),
            "exponent_numbers": self.exponent_numbers,
            "amount_unit": self.amount_unit,
            "no_match": self.no_match,
            "callback_url": self.callback_url,
            "public_url": self.public_url,
            "open_orders": [self._show(row) for row in self.spends.open],
        }

    def _route(self, method: str, path: str, operation: str, handle: _Handler, *, signed: bool) -> Route:
        def guarded(request: Request) -> Response:
            try:
                self._admit()
                if signed:
                    auth.check(request, self._url(request), self._world.now())
                return handle(request)
            except Problem as problem:
                return problem.response(request.path)

        pattern = re.compile(f"/api/v(?P<version>[12]){path}")
        return Route(method, pattern, operation, guarded, executes=operation in ("order", "approve"))

    def _url(self, request: Request) -> str:
        base = self.public_url or f"http://{request.headers.get('host', '')}/{SERVICE_ID}"
        return base.rstrip("/") + request.path + (f"?{request.raw_query}" if request.raw_query else "")

    def _admit(self) -> None:
        now = self._world.now()
        while self._calls and self._calls[0] <= now - 1 / self._world.speed:
            self._calls.popleft()
        if len(self._calls) >= _REQUESTS_PER_SECOND:
            raise Problem(429, "Too Many Requests")
        self._calls.append(now)

    def _wallet(self, request: Request) -> Wallet:
        return self.wallets.get(request.params["wallet"])

    def _add_wallet(self, request: Request) -> Response:
        body = _body(request)
        currency_id = body.get("currencyId" if request.params["version"] == "1" else "currency")
        try:
            currency = currency_of(currency_id, body.get("contractAddress"))
        except Problem as problem:
            raise Problem(400, "currencyIsNotActive", problem.detail) from None
        wallet = self.wallets.add(currency)
        wallet.label, wallet.webhook_url = str(body.get("label") or ""), body.get("webhookUrl") or None
        return Response(202, {"walletId": wallet.wallet_id, "address": wallet.address})

    def _show_wallets(self, _request: Request) -> Response:
        return Response(200, [wallet.view() for wallet in self.wallets])

    def _add_webhook(self, request: Request) -> Response:
        url = _body(request).get("notificationsUrl")
        if request.params["client"] != COINPAYMENTS_CLIENT_ID or not isinstance(url, str):
            raise Problem(400, "validationError", "notificationsUrl is required, for the own client")
        self.callback_url = url
        return Response(200, {"id": self.wallets.new_uuid()})

    def _request(self, request: Request) -> Response:
        version = request.params["version"]
        preview = self.spends.request(self._wallet(request), _body(request), version)
        self._executed("order", preview.request_id, preview.memo, preview.address, preview.cost.from_amount)
        body = preview.show(version)
        if version == "1" and self.exponent_numbers:
            return Response(202, exponent_json(body), JSON)
        return Response(202 if version == "1" else 200, body)

    def _confirm(self, request: Request) -> Response:
        request_id = _body(request).get("spendRequestId")
        row = self.spends.confirm(self._wallet(request), request_id)
        memo = row.preview.memo if row.preview else None
        self._executed("approve", str(request_id).lower(), memo, row.address, row.cost.debit)
        return Response(200)

    def _executed(self, operation: str, order_id: str, *facts: Any) -> None:
        known = dict(zip(("reference", "address", "amount"), facts, strict=True))
        self._world.truth.executed(SERVICE_ID, operation, order_id=order_id, **known)

    def _transaction(self, request: Request) -> Response:
        wallet = self._wallet(request)
        transaction_id, request_id = request.one("transactionId"), request.one("spendRequestId")
        if not transaction_id and not request_id:
            raise Problem(400, "validationError", "transactionId or spendRequestId is required")
        row = self.spends.find(wallet, transaction_id, request_id)
        if row is not None:
            return Response(200, self._show(row))
        if self.no_match == "empty":
            return Response(200)
        raise Problem(404, "transactionNotFound", "The transaction does not exist")

    def _transactions(self, request: Request) -> Response:
        wallet = self._wallet(request)
        skip, take = _whole(request, "skip", 0), _whole(request, "take", _PAGE)
        rows = [row for row in self.spends if row.wallet is wallet]
        return Response(200, [self._show(row) for row in rows[skip : skip + take]])

    def _show(self, row: Transaction) -> Any:
        return row.show(self._amount, self._dollars)

    def _amount(self, amount: Decimal, currency: Currency) -> str:
        return plain(amount) if self.amount_unit == "decimal" else str(int(amount / currency.unit))

    def _dollars(self, amount: Decimal, currency: Currency) -> str:
        try:
            return f"{(amount * self.prices.mid(currency.symbol, 'USD')).quantize(_CENT):f}"
        except KeyError:  # the test coin is worth nothing
            return "0.00"

    def _notify(self, row: Transaction) -> None:
        url = row.wallet.webhook_url or self.callback_url
        if url is None:
            return
        body = to_json(row.webhook(self._dollars)).encode()
        with suppress(ValueError):  # an address outside this machine gets nothing
            self._world.callback(SERVICE_ID, url, auth.signed_headers(url, body, self._world.now()), body)


def _answering(handle: Callable[[Request], Any]) -> _Handler:
    return lambda request: Response(200, handle(request))


def _body(request: Request) -> Mapping[str, Any]:
    try:
        body = request.json()
    except ValueError:
        body = None
    if not isinstance(body, Mapping):
        raise Problem(400, "validationError", "The body must be a JSON object")
    return body


def _whole(request: Request, name: str, default: int) -> int:
    text = request.one(name) or str(default)
    if not text.isdecimal() or not text.isascii():
        raise Problem(400, "validationError", f"{name} must be a whole number")
    return int(text)
