"""THORChain: swaps by deposit and memo over the network's pools. There are no accounts, keys, orders or writing calls.

`place_order` only reads: it asks for the present vault and for a memo, and checks the memo part by part. Our deposit to
the vault, with that memo, is the commit point, and its transaction is the order's name. The price floats; the limit in
the memo is the only protection, so it is never below `minimum_net`. What would bring less is refunded to the address
that paid, less the source chain's fee. No streaming, no affiliate, no refund address in the memo. Tokens are paid out
and not taken, since their deposits go through a router contract.

Facts: THORNode's OpenAPI 3.19, its source (querier_quotes.go, memo_swap.go), dev.thorchain.org. A liquidity tolerance
of 0 means none there, so at least one basis point is asked for. A memo's token may be cut to the end of its contract,
or to no contract where the network has one pool of that name; its short codes are compared with the documented ones,
and an unknown one is a mismatch. Quotes are used for ten of their fifteen minutes. Addresses of the EVM are told in
lower case; Bitcoin Cash goes without its prefix, whose colon would break the memo.

Not found, read cautiously: limits of the present gateways (about one quote a second was that of earlier ones, on
dev.thorchain.org: kept for all calls together; a 429 is a refusal of the call); whether `completed` may be missing
where it is false (not completed). An unknown hash is no error and proves nothing: the deposit counts as not arrived,
and hours after its time as held, so that a person looks. Swapped, with nothing planned or paid: held as well.
Not kept there: a list of what it paid us. Nobody has an account, and by address a wallet's changing inputs escape it.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from converter.domain.coins import Asset
from converter.domain.errors import (
    AmountOutOfRange,
    IntegrityMismatch,
    QuoteExpired,
    ServiceError,
    ServiceRejected,
    ServiceUnavailable,
)
from converter.domain.limits import MINUTE, Budget, Limit
from converter.domain.money import EXACT, from_units
from converter.domain.orders import (
    Capabilities,
    Deposit,
    OperationKind,
    OperationRule,
    Order,
    OrderRef,
    OrderRequest,
    OrderStatus,
)
from converter.domain.quotes import Fee, Quote, QuoteRequest, net_of
from converter.ports import Clock, Deadline
from converter.services.base import Call, HttpService, ServiceSettings, encode, text
from converter.services.thorchain_assets import (
    UNIT_DECIMALS,
    chain_of,
    converts,
    pair_of,
    same_address,
    sendable,
    spelled,
    units,
)
from converter.services.thorchain_memo import least_units, limit_of, refusal, tolerance
from converter.services.thorchain_status import order_of
from converter.transport.http import HttpAnswer

QUOTE_LIFE = timedelta(seconds=60)
LIFE, RESERVE = timedelta(minutes=15), timedelta(minutes=5)
"""Of a quote with its memo, and what of it is left unused."""
SILENCE = timedelta(hours=2)
"""After the end of a deposit's time: the network should have seen it by then."""
STUCK = timedelta(seconds=60)
"""A height that has not moved for so long is a network that stands still."""

_HASH = re.compile(r"(?:0x)?([0-9a-fA-F]{64})")
_CLOSED = ("halted", "global_trading_paused", "chain_trading_paused")


class ThorChain(HttpService):
    """See the module. No keys, no options."""

    capabilities = Capabilities(
        service_id="thorchain",
        title="THORChain",
        commits_on=OperationKind.DEPOSIT,
        rules={
            # "Placing" only reads: there is nothing that could arrive late.
            OperationKind.ORDER: OperationRule(moves_money=False, quiet=timedelta(0)),
            OperationKind.DEPOSIT: OperationRule(moves_money=True, repeat_recognised=True),
        },
        firm_quotes=False,
        keys=(),
        amount_decimals=UNIT_DECIMALS,
        # 80 % of a request a second. An order reads the vault and up to two quotes, the health check ping and height;
        # look-ups leave half to them.
        budget=Budget(
            Limit(48, MINUTE, burst=10),
            operations={"quote": Limit(48, MINUTE, burst=3), "find": Limit(24, MINUTE, burst=4)},
            requests={"order": 3, "health": 2},
        ),
    )

    def __init__(self, settings: ServiceSettings, clock: Clock) -> None:
        super().__init__(settings, clock)
        self._seen = (0, clock.now())

    @staticmethod
    def supports(from_asset: Asset, to_asset: Asset) -> bool:
        """Both sides have a pool, and the first is its chain's own coin."""
        return converts(from_asset, to_asset)

    def quote(self, request: QuoteRequest, deadline: Deadline) -> Quote:
        """What would come out now. An estimate: the limit of the memo is set when the order is placed."""
        body = self._read(self._quote_call("quote", request), deadline)
        with self._parsing("quote"):
            self._check_offer("quote", request, body)
            told, expected = body["fees"], _amount(body["expected_amount_out"])
            service = EXACT.add(_amount(told["liquidity"]), _amount(told.get("affiliate") or "0"))
            network = _amount(told.get("outbound") or "0")
            fees = tuple(fee for fee in (Fee("service", service), Fee("network", network)) if fee.amount)
            gross = EXACT.add(expected, EXACT.add(service, network))
            net, expires_at = net_of(gross, fees, request.to_asset), _moment(body["expiry"])
            if net <= 0:
                raise ValueError("no amount")
        expires_at = min(expires_at, self._clock.now() + QUOTE_LIFE)
        return Quote("thorchain", request, gross, fees, net, firm=False, expires_at=expires_at)

    def place_order(self, order: OrderRequest, deadline: Deadline) -> Order:
        """The vault and the memo to pay it with. Reads only; asks again once where the price has moved."""
        pair_of(order)
        vault = self._vault(order, deadline)
        least = least_units(order.minimum_net)
        points = tolerance(least_units(order.net), least)
        body, limit = self._offer(order, points, vault, deadline)
        if limit < least:
            with self._parsing("order"):
                points -= -((limit - least) * 10_000 // units(body["expected_amount_out"]))
            if points < 1:
                raise QuoteExpired("thorchain", "order", detail="the price has moved")
            body, limit = self._offer(order, points, vault, deadline)
        if limit < least:
            raise QuoteExpired("thorchain", "order", detail="the limit cannot be reached")
        with self._parsing("order"):
            end = min(_moment(body["expiry"]), self._clock.now() + LIFE) - RESERVE
            deposit = Deposit(spelled(order.from_asset, vault), sendable(order), text(body["memo"]), end)
        return Order(OrderRef(order, deposit=deposit), OrderStatus.AWAITING_DEPOSIT, deposit)

    def advance_order(self, order: Order, deadline: Deadline) -> Order:  # noqa: ARG002
        """Nothing to do at this service: the deposit is the next step."""
        raise ServiceRejected("thorchain", "advance", detail="only the deposit moves an order on")

    def find_order(self, ref: OrderRef, deadline: Deadline) -> Order | None:
        """By our deposit's transaction. None before a memo was asked for: nothing can have been paid then."""
        deposit, now = ref.deposit, self._clock.now()
        if deposit is None:
            return None
        end = deposit.valid_until
        if not ref.deposit_txid:
            is_over = end is not None and now >= end
            return Order(ref, OrderStatus.EXPIRED if is_over else OrderStatus.AWAITING_DEPOSIT, deposit)
        named = _HASH.fullmatch(ref.deposit_txid)
        if named is None:
            raise ServiceRejected("thorchain", "status", detail="the deposit's id is no transaction id")
        name = named[1].upper()
        body = self._read(Call("status", "GET", f"/thorchain/tx/status/{name}"), deadline)
        with self._parsing("status"):
            order = order_of(ref, deposit, name, body)
        if order is not None:
            return order
        if end is not None and now > end + SILENCE:
            return Order(ref, OrderStatus.HELD, deposit, detail="the network has not seen the deposit")
        return Order(ref, OrderStatus.AWAITING_DEPOSIT, deposit, detail="not seen yet")

    def check_health(self, deadline: Deadline) -> None:
        """The node answers, and the network's height moves: answers of one that stands still are old."""
        pong = self._read(Call("health", "GET", "/thorchain/ping"), deadline)
        rows = self._read(Call("health", "GET", "/thorchain/lastblock"), deadline)
        now = self._clock.now()
        with self._parsing("health"):
            if pong["ping"] != "pong":
                raise ServiceUnavailable("thorchain", "health", detail="no pong")
            height = max(_whole(row["thorchain"]) for row in list.copy(rows))
        if height != self._seen[0]:
            self._seen = (height, now)
        elif now - self._seen[1] > STUCK:
            raise ServiceUnavailable("thorchain", "health", detail=f"the network stands still at {height}")

    def _vault(self, order: OrderRequest, deadline: Deadline) -> str:
        """The present vault of the source chain, both chains being open. Never kept: vaults change."""
        chains = chain_of(order.from_asset), chain_of(order.to_asset)
        body = self._read(Call("inbound", "GET", "/thorchain/inbound_addresses"), deadline)
        with self._parsing("inbound"):
            rows = {row["chain"]: row for row in list.copy(body)}
            for chain in chains:
                if chain not in rows or any(rows[chain][name] is not False for name in _CLOSED):
                    raise ServiceRejected("thorchain", "order", detail=f"{chain} is halted")
            source = rows[chains[0]]
            if units(source["dust_threshold"]) >= _sent(order):
                raise AmountOutOfRange("thorchain", "order", minimum=_amount(source["dust_threshold"]))
            return text(source["address"])

    def _offer(self, order: OrderRequest, points: int, vault: str, deadline: Deadline) -> tuple[Any, int]:
        """A quote with a memo, held against what we want, and the memo's limit."""
        address = order.address.removeprefix("bitcoincash:")
        more = {"destination": address, "liquidity_tolerance_bps": str(points)}
        body = self._read(self._quote_call("order", order, more), deadline)
        with self._parsing("order"):
            self._check_offer("order", order, body)
            if not same_address(order.from_asset, text(body["inbound_address"]), vault):
                raise IntegrityMismatch("thorchain", "order", detail="two vaults for one chain")
            return body, limit_of(text(body["memo"]), order)

    def _check_offer(self, operation: str, request: QuoteRequest | OrderRequest, body: Any) -> None:
        """What a quote says of our asset and amount."""
        if body["fees"]["asset"] != pair_of(request)["to_asset"]:
            raise IntegrityMismatch("thorchain", operation, detail="a quote for another asset")
        least = body.get("recommended_min_amount_in") or "0"
        if units(least) > _sent(request):
            raise AmountOutOfRange("thorchain", operation, minimum=_amount(least))

    def _quote_call(
        self, operation: str, request: QuoteRequest | OrderRequest, more: dict[str, str] | None = None
    ) -> Call:
        terms = {**pair_of(request), "amount": str(_sent(request)), **(more or {})}
        return Call(operation, "GET", "/thorchain/quote/swap", encode(terms))

    def _known_error(self, operation: str, answer: HttpAnswer) -> ServiceError | None:
        if answer.status == 429:
            return self._limited(operation, answer)
        if operation not in ("quote", "order") or answer.status not in (400, 500):
            return None
        return refusal(operation, answer.status, answer.json())


def _sent(request: QuoteRequest | OrderRequest) -> int:
    return int(EXACT.scaleb(sendable(request), UNIT_DECIMALS))


def _amount(value: Any) -> Decimal:
    return from_units(units(value), UNIT_DECIMALS)


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise ValueError("not a whole number")
    return value


def _moment(value: Any) -> datetime:
    return datetime.fromtimestamp(_whole(value), UTC)
