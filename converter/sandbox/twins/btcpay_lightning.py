"""Twin of `btcpay_lightning`: BTCPay Server's Greenfield API v1, as far as this system can use it.

Source: `services/btcpay_lightning.md` sections 2 to 6, 8, 10, 11 and 13: token header, rates of the store, payouts in
two phases, BOLT11 payments, wallet and node balances. Inferred here: another store's id is answered as a missing
permission; payment proofs carry the server's own property names (`TransactionId`); the payout processor takes about
0.4 s for a step. Not served: creating transactions by hand, pull payments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, ClassVar

from converter.sandbox.credentials import BTCPAY_STORE_ID, BTCPAY_TOKEN
from converter.sandbox.market import PRICES
from converter.sandbox.twin import Request, Response, Route, World
from converter.sandbox.twins.btcpay_input import SERVICE_ID, ApiError, body_of, read_setting
from converter.sandbox.twins.btcpay_node import FEE_RATE, MSAT_PER_BTC, HotWallet, LightningNode
from converter.sandbox.twins.btcpay_payments import PaymentDesk
from converter.sandbox.twins.btcpay_payouts import ENDINGS, FINAL, FIRST_HEIGHT, PayoutBook
from converter.sandbox.twins.btcpay_webhooks import Webhooks

BALANCE = Decimal(10_000)
SPREAD = Decimal("0.003")
WOBBLE = Decimal("0.001")
DEFAULT_PAIR = "BTC_USD"
METHODS = ["BTC-CHAIN", "BTC-LN", "BTC-LNURL"]
STORE = "/api/v1/stores/(?P<store>[^/]+)"
LIGHTNING = f"{STORE}/lightning/BTC"
WALLET = f"{STORE}/payment-methods/BTC-CHAIN/wallet"
PAIR = re.compile(r"([A-Z0-9]{2,10})[_-]([A-Z0-9]{2,10})|([A-Z]{3})([A-Z]{3})")
PROCESSORS = [
    ("OnChainAutomatedPayoutSenderFactory", "Automated Bitcoin Sender", "BTC-CHAIN"),
    ("LightningAutomatedPayoutSenderFactory", "Automated Lightning Sender", "BTC-LN"),
]
REFUSALS: dict[str, tuple[int, str]] = {
    "order": (400, "payment-method-not-supported"),
    "approve": (400, "rate-unavailable"),
    "cancel": (400, "invalid-state"),
    "pay": (400, "could-not-find-route"),
}
SETTINGS = ("balance", "lightning_balance", "ending", "invoice", "signs_wrongly")


class BtcPayTwin:
    """One store with a hot wallet, a Lightning node and payout processors."""

    service_id: ClassVar[str] = SERVICE_ID

    def __init__(self, world: World) -> None:
        self._world = world
        self._node = LightningNode(BALANCE)
        self._wallet = HotWallet(BALANCE, lambda: world.chain_of("BTC"))
        self._webhooks = Webhooks(world)
        self._book = PayoutBook(world, self._node, self._wallet, self._webhooks.tell)
        self._desk = PaymentDesk(world, self._node)
        self._invoices: list[str] = []

    def routes(self) -> list[Route]:
        """The paths of section 13 that are served."""
        payout = f"{STORE}/payouts/(?P<payout>[^/]+)"
        return [
            Route("GET", re.compile("/api/v1/health"), "info", self._health),
            self._route("GET", "/api/v1/server/info", "info", self._server_info),
            self._route("GET", f"{STORE}/payout-processors", "info", self._processors),
            self._route("GET", WALLET, "info", self._wallet_balance),
            self._route("GET", f"{WALLET}/feerate", "info", lambda _: Response(200, {"feeRate": FEE_RATE})),
            self._route("GET", f"{LIGHTNING}/info", "info", self._node_info),
            self._route("GET", f"{LIGHTNING}/balance", "info", self._node_balance),
            self._route("GET", f"{STORE}/rates", "quote", self._rates),
            self._route("POST", f"{STORE}/payouts", "order", self._create),
            self._route("GET", f"{STORE}/payouts", "status", self._list),
            self._route("GET", payout, "status", lambda r: _ok(self._book.find(r.params["payout"]))),
            self._route("POST", payout, "approve", lambda r: _ok(self._book.approve(r.params["payout"], body_of(r)))),
            self._route("DELETE", payout, "cancel", self._cancel),
            self._route("GET", f"{WALLET}/transactions", "status", lambda _: Response(200, self._wallet.transactions)),
            self._route("GET", f"{WALLET}/transactions/(?P<txid>[^/]+)", "status", self._transaction),
            self._route("POST", f"{LIGHTNING}/invoices/pay", "pay", self._desk.pay),
            self._route("GET", f"{LIGHTNING}/payments", "status", self._desk.show_all),
            self._route("GET", f"{LIGHTNING}/payments/(?P<hash>[^/]+)", "status", self._desk.show),
            self._route("POST", f"{STORE}/webhooks", "webhooks", self._webhooks.create),
            self._route("GET", f"{STORE}/webhooks", "webhooks", self._webhooks.show_all),
            self._route("DELETE", f"{STORE}/webhooks/(?P<webhook>[^/]+)", "webhooks", self._webhooks.remove),
        ]

    def refusal(self, operation: str) -> Response:
        """A no that proves that nothing was executed; to a quote it is a rate that is not available."""
        if operation == "quote":
            pairs = [f"{coin}_BTC" for coin in PRICES]
            return Response(200, [_rate(pair, None) for pair in pairs])
        if operation in REFUSALS:
            return ApiError(*REFUSALS[operation]).response
        return ApiError(403, "missing-permission", missingPermission="btcpay.store.canviewstoresettings").response

    def tick(self) -> None:
        """Payouts go on; payments in flight that are to fail come back."""
        self._book.tick()
        self._desk.tick()

    def configure(self, settings: Mapping[str, Any]) -> None:
        """`balance`, `lightning_balance` (BTC), `ending` of what is created from now on, `invoice` (makes one),
        `signs_wrongly` (webhooks)."""
        for name in settings:
            if name not in SETTINGS:
                raise ValueError(f"{name}: unknown field; accepted: {', '.join(SETTINGS)}")
        amounts = {name: read_setting(name, settings[name]) for name in SETTINGS[:2] if name in settings}
        ending = settings.get("ending", self._book.ending)
        if ending not in ENDINGS:
            raise ValueError(f"ending: unknown {ending!r}; accepted: {', '.join(ENDINGS)}")
        if not isinstance(settings.get("signs_wrongly", False), bool):
            raise ValueError("signs_wrongly: accepted: true or false")  # noqa: TRY004 - answered with 400
        if "invoice" in settings:
            amount = None if settings["invoice"] == "open" else read_setting("invoice", settings["invoice"])
            self._invoices.append(self._node.new_invoice(amount, int(self._world.now())))
        self._book.ending = self._desk.ending = ending
        self._webhooks.signs_wrongly = settings.get("signs_wrongly", self._webhooks.signs_wrongly)
        self._wallet.balance = amounts.get("balance", self._wallet.balance)
        if "lightning_balance" in amounts:
            self._node.local = int(amounts["lightning_balance"] * MSAT_PER_BTC)

    def describe(self) -> dict[str, Any]:
        """Balances in BTC, the ending in force, the invoices that were made, the payouts that are not at their end."""
        return {
            "balance": format(self._wallet.balance, "f"),
            "lightning_balance": format(Decimal(self._node.local) / MSAT_PER_BTC, "f"),
            "ending": self._book.ending,
            "invoices": self._invoices,
            "signs_wrongly": self._webhooks.signs_wrongly,
            "open_orders": [item.show() for item in self._book.payouts.values() if item.state not in FINAL],
        }

    def _route(self, method: str, pattern: str, operation: str, handle: Callable[[Request], Response]) -> Route:
        """A route behind the token, whose errors become answers."""

        def guarded(request: Request) -> Response:
            if request.headers.get("authorization") != f"token {BTCPAY_TOKEN}":
                return ApiError(401, "unauthenticated").response
            if request.params.get("store", BTCPAY_STORE_ID) != BTCPAY_STORE_ID:
                return self.refusal("info")
            try:
                return handle(request)
            except ApiError as error:
                return error.response

        executes = method != "GET" and operation != "webhooks"
        return Route(method, re.compile(pattern), operation, guarded, executes=executes)

    def _health(self, _request: Request) -> Response:
        return Response(200, {"synchronized": True})

    def _server_info(self, _request: Request) -> Response:
        sync = {
            "paymentMethodId": "BTC-CHAIN",
            "nodeInformation": {"headers": FIRST_HEIGHT, "blocks": FIRST_HEIGHT, "verificationProgress": Decimal(1)},
            "chainHeight": FIRST_HEIGHT,
            "syncHeight": FIRST_HEIGHT,
            "available": True,
        }
        info = {"version": "2.4.1", "onion": None, "supportedPaymentMethods": METHODS, "fullySynched": True}
        return Response(200, info | {"syncStatus": [sync]})

    def _processors(self, _request: Request) -> Response:
        rows = [{"name": name, "friendlyName": text, "payoutMethods": [method]} for name, text, method in PROCESSORS]
        return Response(200, rows)

    def _wallet_balance(self, _request: Request) -> Response:
        balance = format(self._wallet.balance, "f")
        return Response(200, {"balance": balance, "unconfirmedBalance": "0", "confirmedBalance": balance})

    def _node_info(self, _request: Request) -> Response:
        node = {
            "nodeURIs": [],
            "blockHeight": FIRST_HEIGHT,
            "alias": "sandbox",
            "color": "#336699",
            "version": "0.19.3",
        }
        peers = {"peersCount": 4, "activeChannelsCount": 4, "inactiveChannelsCount": 0, "pendingChannelsCount": 0}
        return Response(200, node | peers)

    def _node_balance(self, _request: Request) -> Response:
        chain = {"confirmed": "0", "unconfirmed": "0", "reserved": "0"}
        channels = {"opening": "0", "local": str(self._node.local), "remote": "0", "closing": "0"}
        return Response(200, {"onchain": chain, "offchain": channels})

    def _rates(self, request: Request) -> Response:
        rates = []
        for text in request.query.get("currencyPair", [DEFAULT_PAIR]):
            match = PAIR.fullmatch(text.upper())
            if match is None:  # as the real server does: this pair and all that follow are left out
                break
            left, right = [part for part in match.groups() if part]
            rates.append(_rate(f"{left}_{right}", self._bid(left, right)))
        return Response(200, rates)

    def _bid(self, left: str, right: str) -> str | None:
        if left == right:
            return "1.0"
        names = {"USD": "USDT"}  # the market's dollar
        try:
            mid = self._world.market.rate(names.get(left, left), names.get(right, right))
        except KeyError:
            return None
        wobble = self._world.market.wobble(f"{SERVICE_ID}:{left}_{right}", WOBBLE)
        bid = mid * (1 - SPREAD) * wobble * self._world.wrong_rate(SERVICE_ID)
        unit = Decimal(1).scaleb(min(-8, bid.adjusted() - 7))
        return format(bid.quantize(unit), "f")

    def _create(self, request: Request) -> Response:
        return _ok(self._book.create(body_of(request)))

    def _list(self, request: Request) -> Response:
        cancelled = (request.one("includeCancelled") or "").lower() == "true"
        rows = [item.show() for item in self._book.payouts.values() if cancelled or item.state != "Cancelled"]
        return Response(200, rows)

    def _cancel(self, request: Request) -> Response:
        self._book.cancel(request.params["payout"])
        return Response(200)

    def _transaction(self, request: Request) -> Response:
        for row in self._wallet.transactions:
            if row["transactionHash"] == request.params["txid"]:
                return Response(200, row)
        raise ApiError(404, "transaction-not-found")


def _ok(payout: Any) -> Response:
    return Response(200, payout.show())


def _rate(pair: str, rate: str | None) -> dict[str, Any]:
    return {"currencyPair": pair, "rate": rate, "errors": [] if rate else ["RateUnavailable"]}
