"""CoinGate: converts what lies in the pool's ledger account there, on the way to a registered address.

The from_coin is debited from the pool's account there, which the pool keeps funded. What is asked for is the promised
net in the to_coin, so the address gets exactly that; the draft tells what it costs, fees included, and one that costs
more than the accepted bound allows (amount x net / minimum_net) is cancelled.
A send request that converts is a draft, which moves nothing; confirming it is the commit point. That a second
confirmation is recognised is documented for ledger conversions and not for send requests, so none is ever sent: after
an unclear answer the request is looked up. `expired` (documented: not confirmed in its minute, final) is the proof that
a lost confirmation was not executed; it is told as unapproved, and refused when it is to be confirmed. Age is no proof:
a request that is still a `draft`, or is not found, leaves a confirmation unknown however long that lasts. `canceled`
may come from compliance, after the debit, and goes to a person unless nothing was confirmed. Our own cancelling, seen
done, proves that a refused draft was not executed.
Drafts are found by `external_id`, which is unique and ours, in the first pages of the list; one that is not found there
is abandoned: unconfirmed, it lapses. Drafts that ask for a second factor are cancelled: switch it off for the app.
Who receives must be registered with name, e-mail and country. An address that is not is registered as one of the
business in the options, or refused if they name none; registering it twice is harmless.
Facts: its reference and OpenAPI file. Not found there, read cautiously: limits (learned by refusal); whether fees lie
inside the debit (taken to come on top); the text of a repeated `external_id` (a refusal that may speak of it proves
nothing); decimals (eight at most); the lists' order; platforms other than bitcoin and ethereum (coins there are taken,
not paid out). The quote is an estimate from its public rates and price list; the draft decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

from converter.domain.coins import Asset
from converter.domain.errors import (
    OutcomeUnknown,
    PairNotSupported,
    QuoteExpired,
    ServiceError,
    ServiceRejected,
    ServiceUnavailable,
)
from converter.domain.orders import (
    Capabilities,
    OperationKind,
    OperationRule,
    Order,
    OrderRef,
    OrderRequest,
    OrderStatus,
)
from converter.domain.quotes import Quote, QuoteRequest
from converter.ports import Deadline
from converter.services.base import Call, encode, exact, json_body, text
from converter.services.coingate_lists import CoinGatePayouts
from converter.services.coingate_requests import (
    BUDGET,
    DOORS,
    OWNER,
    SENDS,
    SETTINGS,
    check_draft,
    converts,
    leads_to,
    number,
    order_of,
    priced,
    refusal,
    registration,
    symbol,
    wished,
)
from converter.transport.http import HttpAnswer

QUOTE_LIFE = timedelta(seconds=60)
_PAGES = 5  # of a list, a hundred rows each, that are looked through


class CoinGate(CoinGatePayouts):
    """See the module. Keys: `token`. Options: `companyName`, `companyCode`, `email`, `country` (three letters) for
    addresses that are not registered; `conversionFee`, `serviceFee`, `serviceFeeEur` of the quote; `callbackUrl`."""

    capabilities = Capabilities(
        service_id="coingate",
        title="CoinGate",
        commits_on=OperationKind.APPROVAL,
        rules={
            OperationKind.ORDER: OperationRule(moves_money=False, quiet=timedelta(seconds=5)),
            OperationKind.APPROVAL: OperationRule(moves_money=True, quiet=timedelta(minutes=2)),
        },
        firm_quotes=False,
        keys=("token",),
        optional_keys=("callback_token",),
        minimum={"ETH": Decimal("0.001"), "BTC": Decimal("0.0001")},
        budget=BUDGET,
    )

    @staticmethod
    def supports(from_asset: Asset, to_asset: Asset) -> bool:
        """Two listed assets of different coins: a request that does not convert is paid without a confirmation."""
        return converts(from_asset, to_asset)

    def quote(self, request: QuoteRequest, deadline: Deadline) -> Quote:
        """Public rate less the fees of the price list, as far as the ledger account reaches."""
        coin, wanted = self._symbols(request)
        rates = self._read(self._call("quote", "GET", f"/ledger/conversions/rates/{coin}"), deadline)
        with self._parsing("quote"):
            row = rates["rates"].get(coin) or {}
            if wanted not in row:
                raise PairNotSupported("coingate", "quote", detail="the pair is not offered")
            gross, fee, net = priced(request, exact(row[wanted]), exact(row["EUR"]), self._settings.options)
        if net <= 0:
            raise ServiceRejected("coingate", "quote", detail="the fees eat the amount")
        if self._account(coin, deadline)[1] < request.amount:
            raise ServiceRejected("coingate", "quote", detail="the ledger account does not hold the amount")
        expires_at = self._clock.now() + QUOTE_LIFE
        return Quote("coingate", request, gross, (fee,), net, firm=False, expires_at=expires_at)

    def place_order(self, order: OrderRequest, deadline: Deadline) -> Order:
        """Draft a send request for the promised net. Moves nothing; what it costs is held against the bound."""
        account_id, _ = self._account(self._symbols(order)[0], deadline)
        content = wished(order, account_id, self._destination(order, deadline), self._settings.options)
        body = self._execute(self._call("order", "POST", f"/{SENDS}", content=content), deadline)
        with self._parsing("order", executed=True):
            placed = order_of(OrderRef(order, str(number(body))), body)
            if placed.status is OrderStatus.AWAITING_APPROVAL:
                self._check(placed.ref, body)
            return placed

    def advance_order(self, order: Order, deadline: Deadline) -> Order:
        """Confirm the draft. Moves money. One that is confirmed already is left as it is."""
        path = f"/{SENDS}/{order.ref.service_order_id}"
        draft = self._read(self._call("status", "GET", path), deadline)
        with self._parsing("status"):
            seen = order_of(order.ref, draft)
            if seen.status is not OrderStatus.AWAITING_APPROVAL:
                return seen
            if seen.detail == "expired":
                raise QuoteExpired("coingate", "approve", code="expired")
            self._check(order.ref, draft)
        try:
            body = self._execute(self._call("approve", "PATCH", f"{path}/confirm"), deadline)
        except ServiceRejected as refusal:
            raise self._cancelled(order.ref, refusal) from refusal
        with self._parsing("approve", executed=True):
            confirmed = order_of(order.ref, body)
            if confirmed.status is OrderStatus.AWAITING_APPROVAL:
                raise ValueError("not confirmed")
            return confirmed

    def find_order(self, ref: OrderRef, deadline: Deadline) -> Order | None:
        """By its id, else in the list. OutcomeUnknown for a draft or an absence once a confirmation was sent."""
        found = self._listed(ref, deadline) if ref.service_order_id is None else self._named(ref, deadline)
        if ref.step_key is not None and (found is None or found.detail == "draft"):  # it may still land
            raise OutcomeUnknown("coingate", "status", detail="not confirmed, nor expired")
        return found

    def check_health(self, deadline: Deadline) -> None:
        """It answers."""
        body = self._read(Call("health", "GET", "/v2/ping"), deadline)
        with self._parsing("health"):
            if body["ping"] != "pong":
                raise ServiceUnavailable("coingate", "health", detail="no pong")

    def check_credentials(self, deadline: Deadline) -> None:
        """Read the ledger accounts: changes nothing."""
        self._read(self._call("info", "GET", "/ledger/accounts", "page=1&per_page=1"), deadline)

    def _listed(self, ref: OrderRef, deadline: Deadline) -> Order | None:
        for row in self._pages(SENDS, deadline):
            with self._parsing("status"):
                if row.get("external_id") == ref.request.key:
                    return order_of(OrderRef(ref.request, str(number(row)), ref.step_key), row)
        return None

    def _named(self, ref: OrderRef, deadline: Deadline) -> Order | None:
        try:
            body = self._read(self._call("status", "GET", f"/{SENDS}/{ref.service_order_id}"), deadline)
        except ServiceRejected as error:
            if error.code == "SendRequestNotFound":
                return None
            raise
        with self._parsing("status"):
            return order_of(ref, body)

    def _check(self, ref: OrderRef, draft: Any) -> None:
        try:
            check_draft(ref.request, draft)
        except ServiceRejected as refusal:
            raise self._cancelled(ref, refusal) from refusal

    def _cancelled(self, ref: OrderRef, refusal: ServiceError) -> ServiceError:
        """Cancel a draft that is not to be executed: the refusal if that is seen done, OutcomeUnknown otherwise."""
        try:
            call = self._call("cancel", "PATCH", f"/{SENDS}/{ref.service_order_id}/cancel")
            cancelled = self._execute(call, Deadline.after(5.0))
            with self._parsing("cancel"):
                done = order_of(ref, cancelled).status is OrderStatus.REJECTED
        except ServiceError:
            done = False
        return refusal if done else OutcomeUnknown("coingate", refusal.operation, detail="refused, but not cancelled")

    def _account(self, symbol: str, deadline: Deadline) -> tuple[str, Decimal]:
        """Id and balance of the account of a coin."""
        body = self._read(self._call("info", "GET", "/ledger/accounts", "page=1&per_page=100"), deadline)
        with self._parsing("info"):
            for row in list.copy(body["accounts"]):
                if (row["currency"]["symbol"], row["status"], row["account_type"]) == (symbol, "active", "main"):
                    return text(row["id"]), exact(row["balance"])
        raise ServiceRejected("coingate", "info", detail=f"there is no ledger account of {symbol}")

    def _destination(self, order: OrderRequest, deadline: Deadline) -> tuple[int, int]:
        """Ids of the payout setting of an address and of its currency; registers an address that has none."""
        for row in self._pages(SETTINGS, deadline):
            with self._parsing("info"):
                if leads_to(row, order):
                    return number(row), number(row["currency"])
        options = self._settings.options
        if not all(options.get(name) for name in OWNER):
            raise ServiceRejected("coingate", "register", detail="the address is not registered there")
        listed = self._read(self._call("info", "GET", f"/{SENDS}/supported-currencies"), deadline)
        with self._parsing("info"):
            content = registration(order, listed, options)
        # It changes no balance, and doing it twice is harmless: for the money it is a call like one that reads.
        body = self._read(self._call("register", "POST", "/beneficiaries", content=content), deadline)
        with self._parsing("register"):
            row = [row for row in body[SETTINGS] if leads_to(row, order)][0]  # noqa: RUF015  an IndexError if there is none
            return number(row), number(row["currency"])

    def _pages(self, name: str, deadline: Deadline) -> Iterator[Any]:
        """Rows of a list, its first pages."""
        for page in range(1, _PAGES + 1):
            query = encode({"page": str(page), "per_page": "100"})
            body = self._read(self._call("status" if name == SENDS else "info", "GET", f"/{name}", query), deadline)
            with self._parsing("status"):
                rows, last = list.copy(body[name]), page >= exact(body["total_pages"])  # rows of a list only
            yield from rows
            if last:
                return

    def _symbols(self, request: QuoteRequest | OrderRequest) -> tuple[str, str]:
        if not self.supports(request.from_asset, request.to_asset):
            raise PairNotSupported("coingate", "quote")
        return symbol(request.from_asset), symbol(request.to_asset)

    def _call(self, operation: str, method: str, path: str, query: str = "", content: Any = None) -> Call:
        headers = {"Authorization": f"Token {self._settings.keys['token']}", "Content-Type": "application/json"}
        return Call(operation, method, f"/v2{path}", query, headers, None if content is None else json_body(content))

    def _known_error(self, operation: str, answer: HttpAnswer) -> ServiceError | None:
        if answer.status in DOORS and (operation != "approve" or answer.json()["reason"] in DOORS[answer.status]):
            limited = answer.status == 429
            return self._limited(operation, answer) if limited else self._unauthorised(operation, "401")
        return refusal(operation, answer.status, answer.json())
