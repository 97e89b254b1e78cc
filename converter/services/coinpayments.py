"""CoinPayments: converts what lies in the pool's wallet there, on the way to an address. Current REST API, version 1.

The from_coin is debited from the pool's wallet there, which the pool keeps funded. A spend request is a preview, which
moves nothing and goes stale (a minute, taken cautiously); confirming it is the commit point. Every fee comes out of the
amount (`receiverPaysFee`), and a preview that brings less than the accepted bound is not confirmed. Whether its rate is
held until then is not documented: what arrives may be less than promised, and is told as it is.
A confirmation is accepted with 200 and no body, and refused with 404 when the request is not found or has expired: of a
first one that is proof. Not documented: what a second one gets (perhaps the same 404), what a look-up answers when no
transaction matches (404 and an empty answer are both read as "none yet"), how long a transaction takes to show. So a
repeat is not recognised and an absence is no proof, though late requests are refused: a confirmation without a clear
answer is looked up, never sent again, and a person decides when it does not turn up. A request whose answer was lost
has no name that we know; it moves nothing and is forgotten.
An order is named `wallet/request`, since a transaction is looked up in the wallet that paid. Requests are signed with
the moment of signing, which is taken before `send_by` is checked for the last time: the service refuses what arrives
more than a minute later. A stale clock of ours is an authentication failure.
Facts: the service's API pages and OpenAPI files, its official samples. Not found there, read cautiously: the coins that
convert (those of CODES are asked for in the service's list, which decides); the units of a preview and of a transaction
(whole coins or smallest units, whichever makes the debited amount ours); whether `toAmount` is net of every fee (taken
so); the body of a network fee (a whole number of the received coin's smallest units); a destination tag (none is sent);
the fee of a conversion (0.5 %, an option; the preview decides); what over the limit looks like (429, and a 403 without
a body of the service's own, which proves nothing of a confirmation). `completed` is a payout that the chain may still
lose: only `confirmedOnBlockchain` is the end. A payout inside the service, or a failed one, goes to a person.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta
from decimal import Decimal
from typing import Any

from converter.domain.coins import Asset
from converter.domain.errors import (
    AmountOutOfRange,
    OutcomeUnknown,
    PairNotSupported,
    QuoteExpired,
    ServiceError,
    ServiceRejected,
)
from converter.domain.money import EXACT, to_units
from converter.domain.orders import (
    Capabilities,
    OperationKind,
    OperationRule,
    Order,
    OrderRef,
    OrderRequest,
    OrderStatus,
)
from converter.domain.quotes import Fee, Quote, QuoteRequest, net_of
from converter.ports import Clock, Deadline
from converter.services.base import Call, ServiceSettings, encode, json_body
from converter.services.coinpayments_lists import CoinPaymentsPayouts
from converter.services.coinpayments_requests import (
    BUDGET,
    CODES,
    DECIMALS,
    Currency,
    check_preview,
    code_of,
    currency_of,
    ident,
    problem_of,
    rate_of,
    sendable,
    signature,
    transaction_of,
    units,
    wallet_of,
)
from converter.transport.http import HttpAnswer

QUOTE_LIFE = timedelta(seconds=30)
PREVIEW_LIFE = timedelta(seconds=60)
_V1 = "/api/v1"
_NOT_FOUND = "404"
_NONE_YET = b'{"title":"none yet","status":404}'


class CoinPayments(CoinPaymentsPayouts):
    """See the module. Keys: `client_id`, `client_secret`. Options: `serviceFee`."""

    capabilities = Capabilities(
        service_id="coinpayments",
        title="CoinPayments",
        commits_on=OperationKind.APPROVAL,
        rules={
            # A preview whose answer was lost is harmless whenever it is made, so there is no time to be waited for.
            OperationKind.ORDER: OperationRule(moves_money=False, quiet=timedelta(0)),
            OperationKind.APPROVAL: OperationRule(moves_money=True, quiet=None),
        },
        firm_quotes=False,
        keys=("client_id", "client_secret"),
        optional_keys=("callback_token",),
        amount_decimals=DECIMALS,
        budget=BUDGET,
    )

    def __init__(self, settings: ServiceSettings, clock: Clock) -> None:
        super().__init__(settings, clock)
        self._currencies: dict[tuple[str, str], Currency] = {}

    @staticmethod
    def supports(from_asset: Asset, to_asset: Asset) -> bool:
        """Two assets with a symbol there, of different coins."""
        codes = [CODES.get((one.coin, one.network)) for one in (from_asset, to_asset)]
        return None not in codes and from_asset.coin != to_asset.coin

    def quote(self, request: QuoteRequest, deadline: Deadline) -> Quote:
        """Public rate less the service's share and the network fee, within the limits and what a wallet holds."""
        sender, receiver = self._pair(request, deadline)
        amount = sendable(request)
        limits = self._read(
            Call("quote", "GET", f"{_V1}/currencies/limits/{sender.currency_id}/{receiver.currency_id}"), deadline
        )
        query = encode({"from": sender.currency_id, "to": receiver.currency_id})
        rates = self._read(Call("quote", "GET", f"{_V1}/rates", query), deadline)
        network = self._read(Call("quote", "GET", f"{_V1}/fees/blockchain/{receiver.currency_id}"), deadline)
        with self._parsing("quote"):
            least, most = (units(limits[end], request.from_asset) for end in ("min", "max"))
            gross = EXACT.multiply(amount, rate_of(rates, sender, receiver))
            share = EXACT.multiply(gross, Decimal(self._settings.options.get("serviceFee", "0.005")))
            chain = units(network, request.to_asset)
            if min(least, most) < 0 or chain <= 0:
                raise ValueError("no limits or no fee")
        if amount < least or amount > most > 0:
            raise AmountOutOfRange("coinpayments", "quote", minimum=least, maximum=most or None)
        fees = (Fee("service", share), Fee("network", chain))
        net = net_of(gross, fees, replace(request.to_asset, decimals=min(DECIMALS, request.to_asset.decimals)))
        if net <= 0:
            raise ServiceRejected("coinpayments", "quote", detail="the fees eat the amount")
        self._wallet(sender, amount, deadline)
        expires_at = self._clock.now() + QUOTE_LIFE
        return Quote("coinpayments", request, gross, fees, net, firm=False, expires_at=expires_at)

    def place_order(self, order: OrderRequest, deadline: Deadline) -> Order:
        """Make a spend request. Moves nothing; its preview is held against the request and the bound."""
        sender, receiver = self._pair(order, deadline)
        wallet_id = self._wallet(sender, sendable(order), deadline)
        content = {
            "toCurrencyId": int(receiver.number),
            "toAddress": order.address,
            "amountInSmallestUnits": str(to_units(sendable(order), order.from_asset.decimals)),
            "memo": order.key,
            "receiverPaysFee": True,
        }
        contracts = {"fromContractAddress": sender.contract, "toContractAddress": receiver.contract}
        content |= {name: contract for name, contract in contracts.items() if contract}
        body = self._execute(self._signed("order", "POST", f"/{wallet_id}/spend/request", content=content), deadline)
        with self._parsing("order", executed=True):
            check_preview(order, body, wallet_id, (sender, receiver))
            order_id = f"{wallet_id}/{ident(body['spendRequestId'])}"
        return Order(OrderRef(order, order_id), OrderStatus.AWAITING_APPROVAL)

    def advance_order(self, order: Order, deadline: Deadline) -> Order:
        """Confirm the spend request. Moves money. A preview that went stale is not confirmed."""
        if self._clock.now() > order.ref.request.prepared_at + PREVIEW_LIFE:
            raise QuoteExpired("coinpayments", "approve", detail="the preview went stale")
        wallet_id, _, request_id = str(order.ref.service_order_id).partition("/")
        content = {"spendRequestId": request_id}
        call = self._signed("approve", "POST", f"/{wallet_id}/spend/confirmation", content=content)
        if self._execute(call, deadline) is not None:
            raise OutcomeUnknown("coinpayments", "approve", detail="an answer other than documented")
        return Order(order.ref, OrderStatus.OPEN)

    def find_order(self, ref: OrderRef, deadline: Deadline) -> Order | None:
        """The transaction of a spend request; without one it is still unapproved. None when we cannot name it."""
        if ref.service_order_id is None:
            return None
        pair = self._pair(ref.request, deadline)
        wallet_id, _, request_id = ref.service_order_id.partition("/")
        query = encode({"spendRequestId": request_id})
        try:
            body = self._read(self._signed("status", "GET", f"/{wallet_id}/transaction", query), deadline)
        except ServiceRejected as error:
            if error.code == _NOT_FOUND:
                return Order(ref, OrderStatus.AWAITING_APPROVAL, detail="none yet")
            raise
        with self._parsing("status"):
            return transaction_of(ref, body, request_id, pair)

    def check_health(self, deadline: Deadline) -> None:
        """One currency that is always listed."""
        body = self._read(Call("health", "GET", f"{_V1}/currencies/1"), deadline)
        with self._parsing("health"):
            if body["symbol"] != "BTC":
                raise ValueError("another currency than asked for")

    def check_credentials(self, deadline: Deadline) -> None:
        """Read the wallets, signed: changes nothing."""
        self._read(self._signed("info", "GET", ""), deadline)

    def _pair(self, request: QuoteRequest | OrderRequest, deadline: Deadline) -> tuple[Currency, Currency]:
        if not self.supports(request.from_asset, request.to_asset):
            raise PairNotSupported("coinpayments", "quote")
        return self._currency(request.from_asset, deadline), self._currency(request.to_asset, deadline)

    def _currency(self, asset: Asset, deadline: Deadline) -> Currency:
        """Ids are looked up in the service's list, once."""
        place = (asset.coin, asset.network)
        if place not in self._currencies:
            query = encode({"q": code_of(asset)[0]})
            rows = self._read(Call("info", "GET", f"{_V1}/currencies", query), deadline)
            with self._parsing("info"):
                self._currencies[place] = currency_of(rows, asset)
        return self._currencies[place]

    def _wallet(self, currency: Currency, amount: Decimal, deadline: Deadline) -> str:
        """Id of a wallet that can pay the amount."""
        rows = self._read(self._signed("info", "GET", ""), deadline)
        with self._parsing("info"):
            return wallet_of(rows, currency, amount)

    def _signed(self, operation: str, method: str, path: str, query: str = "", content: Any = None) -> Call:
        """Sign a call to the wallets, now: see the module."""
        path, body = f"{_V1}/merchant/wallets{path}", None if content is None else json_body(content)
        url = self._settings.base_url.rstrip("/") + path + (f"?{query}" if query else "")
        client, moment = self._settings.keys["client_id"], self._clock.now().astimezone(UTC)
        stamp = moment.strftime("%Y-%m-%dT%H:%M:%S")
        message = f"\ufeff{method}{url}{client}{stamp}".encode() + (body or b"")
        headers = {
            "X-CoinPayments-Client": client,
            "X-CoinPayments-Timestamp": stamp,
            "X-CoinPayments-Signature": signature(self._settings.keys["client_secret"], message),
            "Content-Type": "application/json",
        }
        return Call(operation, method, path, query, headers, body)

    def _is_success(self, answer: HttpAnswer) -> bool:
        return super()._is_success(answer) and (answer.status == 200 or bool(answer.body))

    def _send(self, call: Call, deadline: Deadline, *, fresh: bool) -> HttpAnswer:
        answer = super()._send(call, deadline, fresh=fresh)
        if call.operation == "status" and answer.status == 200 and not answer.body:
            return replace(answer, status=404, body=_NONE_YET)
        return answer

    def _known_error(self, operation: str, answer: HttpAnswer) -> ServiceError | None:
        title = problem_of(answer)
        if answer.status in (401, 403, 429) and (title or operation != "approve"):
            limited = answer.status == 429 or (answer.status == 403 and not title)
            return self._limited(operation, answer) if limited else self._unauthorised(operation, str(answer.status))
        if not title or answer.status not in (400, 404):
            return None
        if "OfConversionLimit" in title:
            return AmountOutOfRange("coinpayments", operation)
        kind = PairNotSupported if title == "conversionPairDoesNotExist" else ServiceRejected
        named = title.isalpha() and answer.status == 400  # a sentence may repeat what we sent
        return kind("coinpayments", operation, code=title[:60] if named else str(answer.status))
