"""What a node of the Core family is asked, and what its refusals mean while nothing has left yet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from converter.domain.errors import ConfigurationError, ServiceRejected, ServiceUnavailable
from converter.ports import Deadline
from converter.wallets.bitcoin_tx import RawTransaction, read_transaction
from converter.wallets.rpc import NO_METHOD, Node, NodeRefused

UNKNOWN_ID, WARMING_UP = -5, -28

NODES: Mapping[str, str] = {
    "BTC": r"/Satoshi:",
    "LTC": r"/LitecoinCore:",
    "DOGE": r"/Shibetoshi:",
    "BCH": r"/(Bitcoin Cash|BCH)",
    "RVN": r"/Ravencoin:",
}
"""How the nodes of each coin call themselves. Old BTC and BCH addresses look alike, so a mix-up must end here."""


@dataclass(frozen=True)
class Known:
    """What the node knows of a transaction. `ours`: it spends the wallet's own coins."""

    confirmations: int
    transaction: RawTransaction
    ours: bool


class CoreNode:
    """A node and the wallet that its URL names. `login` is `user:password`."""

    def __init__(self, coin: str, rpc_url: str, login: str) -> None:
        if coin not in NODES:
            raise ConfigurationError(f"no node wallet for {coin!r}; accepted: {', '.join(NODES)}")
        if not all(login.partition(":")):
            raise ConfigurationError(f"wallet key for {coin}: accepted: user:password")
        self.coin, self.name = coin, coin.lower()
        self._node = Node(self.name, rpc_url, login)
        self.send, self.reading = self._node.send, self._node.reading
        self._checked = False

    def check(self, deadline: Deadline) -> None:
        """Raises ServiceRejected when it is another coin's node."""
        if self._checked:
            return
        with self.reading("getnetworkinfo"):
            called = str(self.ask("getnetworkinfo", [], deadline)["subversion"])
        if not re.match(NODES[self.coin], called):
            raise self.rejected(f"the node is no {self.coin} node: {called[:40]}")
        self._checked = True

    def ask(self, method: str, params: list[Any], deadline: Deadline) -> Any:
        """A step of a preparation: the node's refusal is one. Raises ServiceRejected, ServiceUnavailable."""
        try:
            return self._node.read(method, params, deadline)
        except NodeRefused as error:
            kind = ServiceUnavailable if error.code == WARMING_UP else ServiceRejected
            raise kind(self.name, method, code=str(error.code), detail=error.message[:100]) from error

    def offered(self, method: str, params: list[Any], deadline: Deadline) -> Any:
        """Like `ask`; None where the node has no such method."""
        try:
            return self.ask(method, params, deadline)
        except ServiceRejected as error:
            if error.code == str(NO_METHOD):
                return None
            raise

    def found(self, method: str, txid: str, *more: Any, deadline: Deadline) -> Any:
        """What a method tells of a transaction; None when it has none. Raises ServiceUnavailable."""
        try:
            return self._node.read(method, [txid, *more], deadline)
        except NodeRefused as error:
            if error.code == UNKNOWN_ID:
                return None
            raise ServiceUnavailable(self.name, method, code=str(error.code), detail=error.message[:100]) from error

    def look(self, txid: str, deadline: Deadline) -> Known | None:
        """What the wallet, or else the node, knows of a transaction."""
        told = self.found("gettransaction", txid, deadline=deadline)
        if told is None:
            told = self.found("getrawtransaction", txid, True, deadline=deadline)
        if told is None:
            return None
        with self.reading("gettransaction"):
            transaction, confirmations = read_transaction(told["hex"]), told.get("confirmations", 0)
            if transaction.txid != txid or not isinstance(confirmations, int):
                raise ValueError("another transaction")
            return Known(confirmations, transaction, "fee" in told)

    def script(self, address: str, deadline: Deadline) -> str:
        """The output script of an address in hex: one script has several spellings. Raises ServiceRejected."""
        with self.reading("validateaddress"):
            told = self.ask("validateaddress", [address], deadline)
            if told["isvalid"] is not True:
                raise self.rejected("the node does not know such an address")
            return str(told["scriptPubKey"])

    def rejected(self, why: str) -> ServiceRejected:
        """Our own refusal to pay."""
        return ServiceRejected(self.name, "prepare", detail=why)
