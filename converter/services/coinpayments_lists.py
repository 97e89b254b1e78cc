"""CoinPayments' own list of what it paid: the transactions of each of our wallets there, less what came in.

Our key travels as `memo`; `order_id` is `wallet/request`, as in the ledger, or the transaction's id where no request is
named. A transaction goes by the moment of its creation. An integration sees only the wallets that it made.

Not documented, read cautiously: the order of the list (it is read from new to old where its rows run so, else to its
end) and the most rows of a page, so only a page that is short by any measure is the last; the names of the paging
parameters are a public client's. The unit of amounts: where one of a row's has decimals it is whole coins, else the
amount is not told. A currency is a number, which a token may share with its network's coin: a row that names no
contract, of a network with tokens, tells no coin, and nor does one that is not listed. `completed` is put on the chain:
paid. What failed on the chain may have left: that and every undocumented status is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from converter.domain.errors import MalformedResponse
from converter.domain.payouts import Payout, PayoutState
from converter.ports import Clock, Deadline
from converter.services.base import Call, HttpService, ServiceSettings, encode, exact, text
from converter.services.coinpayments_requests import CODES, ident
from converter.services.lists import Page, Row, gathered, state_of, told, utc

STATES = {
    **dict.fromkeys(("created", "pending", "processing", "waitingforconversion"), PayoutState.UNDER_WAY),
    **dict.fromkeys(("completed", "confirmedonblockchain"), PayoutState.PAID),
    **dict.fromkeys(("failed", "cancelled", "rejected", "expired"), PayoutState.FAILED),
}
"""By the status in lower case, since its spelling differs from place to place."""
PAGE, PAGES = 100, 14
"""Rows asked for on a page; pages of one reading, over all wallets."""
SHORT = 20
"""A page of fewer rows is the last of its wallet."""

_CONTRACTS = {code[1].lower(): coin for (coin, _), code in CODES.items() if code is not None and code[1]}
_WITH_TOKENS = {network for (_, network), code in CODES.items() if code is not None and code[1]}
"""Networks of our tokens; the name of one is the ticker of its coin."""
_AMOUNTS = ("fromAmount", "toAmount", "coinPaymentsFee", "blockchainFee")


@dataclass(frozen=True)
class Names:
    """Symbols of coins by their numbers, and the numbers of networks that have tokens."""

    coins: dict[str, str]
    with_tokens: frozenset[str]

    def coin_of(self, number: str, contract: str) -> str:
        """Our ticker; the service's id of a token that is not ours; empty where it is not clear."""
        if contract:
            return _CONTRACTS.get(contract.lower(), f"{number}:{contract}")
        coin = self.coins.get(number, "")
        return "" if number in self.with_tokens or coin in _WITH_TOKENS else coin


class CoinPaymentsPayouts(HttpService):
    """See the module."""

    lists = True

    def __init__(self, settings: ServiceSettings, clock: Clock) -> None:
        super().__init__(settings, clock)
        self._names: Names | None = None

    def payouts(self, since: datetime, deadline: Deadline) -> list[Payout]:
        """Transactions that leave a wallet and were created since then."""
        names = self._named(deadline)
        body = self._read(self._signed("list", "GET", ""), deadline)
        with self._parsing("list"):
            wallets = [ident(row["walletId"]) for row in list.copy(body)]  # a TypeError for anything but a list
        reads, found = iter(range(PAGES)), dict[str, Payout]()
        for wallet_id in wallets:
            for payout in gathered("coinpayments", self._wallet_pages(wallet_id, names, reads, deadline), since, PAGES):
                found.setdefault(payout.order_id, payout)
        return list(found.values())

    def _signed(self, operation: str, method: str, path: str, query: str = "", content: Any = None) -> Call:
        """A signed call to the wallets."""
        raise NotImplementedError

    def _wallet_pages(self, wallet_id: str, names: Names, reads: Iterator[int], deadline: Deadline) -> Iterator[Page]:
        skip = 0
        for _ in reads:
            query = encode({"skip": str(skip), "take": str(PAGE)})
            body = self._read(self._signed("list", "GET", f"/{wallet_id}/transactions", query), deadline)
            with self._parsing("list"):
                rows = [_row(row, wallet_id, names) for row in list.copy(body)]
            yield rows, len(rows) < SHORT
            skip += len(rows)
        raise MalformedResponse("coinpayments", "list", detail=f"it is longer than {PAGES} pages since then")

    def _named(self, deadline: Deadline) -> Names:
        """Read once: numbers do not change."""
        if self._names is None:
            body = self._read(Call("list", "GET", "/api/v1/currencies"), deadline)
            with self._parsing("list"):
                listed = [(text(row["id"]), row) for row in list.copy(body)]
                coins = {number: text(row["symbol"]) for number, row in listed if ":" not in number}
                if coins.get("1") != "BTC":  # always listed
                    raise ValueError("another list than asked for")
                tokens = (number.partition(":")[0] for number, _ in listed if ":" in number)
                self._names = Names(coins, frozenset(tokens))
        return self._names


def _row(body: Any, wallet_id: str, names: Names) -> Row:
    row_id, at, kind = text(body["id"]), utc(body["dateCreated"]), text(body["transactionType"])
    if "receive" in kind.lower():
        return Row(row_id, at, None)
    request, status = told(body.get("spendRequestId")), body.get("transactionStatus")
    number, _, token = str(body["toCurrencyId"]).partition(":")
    payout = Payout(
        service_id="coinpayments",
        reference=told(body.get("memo")),
        order_id=f"{wallet_id}/{request}" if request else row_id,
        coin=names.coin_of(number, token or told(body.get("toContractAddress"))),
        amount=_arriving(body),
        address=told(body.get("toAddress")),
        txid=told(body.get("txHash")),
        at=at,
        state=state_of(STATES, status.lower() if isinstance(status, str) else status),
    )
    return Row(row_id, at, payout)


def _arriving(body: Any) -> Decimal | None:
    """What reaches the address, in whole coins; None where the row does not show in which unit it counts."""
    known = {name: exact(body[name]) for name in _AMOUNTS if body.get(name) is not None}
    in_coins = any("." in format(amount, "f") for amount in known.values())
    return known.get("toAmount") if in_coins else None
