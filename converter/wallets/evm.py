"""An account on an EVM chain (ETH), signed here, spoken to over JSON-RPC.

The account's nonce is the fencing token: the ledger gives each payment its own, the chain mines each once. The raw
transaction and its id are stored before the first broadcast; every repeat sends the same bytes. The chain id in the
signature (EIP-155) keeps a payment on its chain; a node of another chain is refused before anything is signed.

Facts: Ethereum JSON-RPC; texts of refusals differ by node software, so only "already known" is read as accepted, and
every other refusal leaves the outcome to `observe`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from eth_account import Account
from eth_account.signers.local import LocalAccount

from converter.domain.errors import ConfigurationError, OutcomeUnknown, ServiceRejected, ServiceUnavailable
from converter.domain.money import from_units, plain, to_units
from converter.ports import Deadline, Sighting, Transfer
from converter.transport.http import AnswerLost, HttpAnswer, HttpClient, RequestNotSent

DECIMALS = 18
GAS = 21_000
"""Gas of a plain transfer."""

ANSWER_WITHIN = 10.0
"""Seconds to wait for the answer to a broadcast, once it has left."""

_KNOWN = re.compile(r"already ?known|\bknown transaction\b", re.IGNORECASE)
"""A node has the transaction already. Not "unknown transaction type", which is a refusal."""


@dataclass(frozen=True)
class Terms:
    """What a signature needs, in wei."""

    fee_per_gas: int
    tip_per_gas: int


class _RpcError(Exception):
    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class EvmWallet:
    """See the module. `chain_id` is what the node must be on; `confirmations` is the depth that counts as confirmed."""

    pays_itself = True

    def __init__(self, rpc_url: str, private_key: str, chain_id: int, confirmations: int = 1) -> None:
        parts = urlsplit(rpc_url)  # path and query are kept as they are: some nodes carry their key in them
        self._http = HttpClient(f"{parts.scheme}://{parts.netloc}")
        self._path, self._query = parts.path or "/", parts.query
        try:
            self._signer: LocalAccount = Account.from_key(private_key)
        except ValueError:
            # The library's own error shows the key; this one has no context.
            raise ConfigurationError("wallet key for ETH: accepted: 0x and 64 hex digits") from None
        self._chain_id = chain_id
        self._chain = f"evm:{chain_id}"
        self._confirmations = confirmations
        self._checked_chain = False

    @property
    def address(self) -> str:
        """The account that pays."""
        return str(self._signer.address)

    def account(self, deadline: Deadline) -> tuple[str, str, int]:
        """Chain, account and its next nonce by what is mined; the ledger's own count goes before it."""
        return self._chain, self.address, self._number("eth_getTransactionCount", [self.address, "latest"], deadline)

    def terms(self, amount: Decimal, deadline: Deadline) -> Terms:
        """Fees of now, after checking chain and balance. Raises ServiceRejected when funds are short."""
        self._check_chain(deadline)
        price = self._number("eth_gasPrice", [], deadline)
        tip = self._number("eth_maxPriorityFeePerGas", [], deadline)
        # Twice the price leaves room for six full blocks of rising base fee; what is not needed is not paid.
        terms = Terms(fee_per_gas=2 * price + tip, tip_per_gas=tip)
        balance = from_units(self._number("eth_getBalance", [self.address, "pending"], deadline), DECIMALS)
        needed = amount + from_units(terms.fee_per_gas * GAS, DECIMALS)
        if balance < needed:
            raise ServiceRejected("evm", "terms", detail=f"the wallet holds {plain(balance)}, needs {plain(needed)}")
        return terms

    def sign(self, transfer_to: tuple[str, Decimal, str], nonce: int, terms: Terms) -> Transfer:
        """Sign a payment to (address, amount, memo). Deterministic (RFC 6979); no network, no effect."""
        address, amount, memo = transfer_to
        fields: dict[str, Any] = {
            "type": 2,
            "chainId": self._chain_id,
            "nonce": nonce,
            "to": address,
            "value": to_units(amount, DECIMALS),
            "data": memo.encode() if memo else b"",
            "gas": GAS + 16 * len(memo.encode()),
            "maxFeePerGas": terms.fee_per_gas,
            "maxPriorityFeePerGas": terms.tip_per_gas,
        }
        signed = self._signer.sign_transaction(fields)
        raw, txid = "0x" + bytes(signed.raw_transaction).hex(), "0x" + bytes(signed.hash).hex()
        return Transfer(self._chain, self.address, nonce, raw, txid, address, amount)

    def broadcast(self, transfer: Transfer, deadline: Deadline) -> None:
        """Hand the stored bytes to the node. Repeating is harmless. Raises OutcomeUnknown for any refusal, and for any
        answer but the transaction's own id."""
        if deadline.expired:
            raise ServiceUnavailable("evm", "broadcast", detail="too late to send")
        try:
            named = self._call("eth_sendRawTransaction", [transfer.raw], deadline)
        except _RpcError as error:
            if _KNOWN.search(error.message):
                return
            raise OutcomeUnknown("evm", "broadcast", detail=error.message[:100]) from error
        if str(named).lower() != transfer.txid:
            raise OutcomeUnknown("evm", "broadcast", detail="the node names another transaction")

    def observe(self, transfer: Transfer, deadline: Deadline) -> Sighting:
        """What the chain knows of the transaction, and of its nonce."""
        receipt = self._call("eth_getTransactionReceipt", [transfer.txid], deadline)
        if receipt is not None:
            with _reading("eth_getTransactionReceipt"):
                if receipt["transactionHash"].lower() != transfer.txid:
                    raise ValueError("another transaction")
                succeeded, mined_in = int(receipt["status"], 16) == 1, int(receipt["blockNumber"], 16)
            if not succeeded:
                return Sighting.FAILED
            depth = self._number("eth_blockNumber", [], deadline) - mined_in + 1
            return Sighting.CONFIRMED if depth >= self._confirmations else Sighting.PENDING
        if self._call("eth_getTransactionByHash", [transfer.txid], deadline) is not None:
            return Sighting.PENDING
        mined = self._number("eth_getTransactionCount", [self.address, "latest"], deadline)
        if mined <= transfer.nonce:
            return Sighting.UNKNOWN
        # The nonce is used. Our own transaction may have been mined between the two questions: ask once more.
        again = self._call("eth_getTransactionReceipt", [transfer.txid], deadline)
        return Sighting.PENDING if again is not None else Sighting.REPLACED

    def _check_chain(self, deadline: Deadline) -> None:
        if self._checked_chain:
            return
        found = self._number("eth_chainId", [], deadline)
        if found != self._chain_id:
            raise ServiceRejected("evm", "terms", detail=f"the node is on chain {found}, not {self._chain_id}")
        self._checked_chain = True

    def _number(self, method: str, params: list[Any], deadline: Deadline) -> int:
        """A quantity, which the nodes write in hex."""
        told = self._call(method, params, deadline)
        with _reading(method):
            return int(told, 16)

    def _call(self, method: str, params: list[Any], deadline: Deadline) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        broadcasting = method == "eth_sendRawTransaction"
        try:
            answer = self._http.send(
                "POST",
                self._path,
                params=self._query,
                deadline=Deadline.after(ANSWER_WITHIN) if broadcasting else deadline,
                headers={"Content-Type": "application/json"},
                body=body,
                fresh_connection=broadcasting,
            )
        except RequestNotSent as error:
            raise ServiceUnavailable("evm", method, detail=error.cause_text) from error
        except AnswerLost as error:
            kind = OutcomeUnknown if broadcasting else ServiceUnavailable
            raise kind("evm", method, detail=error.cause_text) from error
        return _result(method, answer, broadcasting=broadcasting)


@contextmanager
def _reading(method: str) -> Iterator[None]:
    """Turn an odd result of a read into ServiceUnavailable."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ServiceUnavailable("evm", method, detail="odd answer") from error


def _result(method: str, answer: HttpAnswer, *, broadcasting: bool) -> Any:
    try:
        body = answer.json()
        if body.get("error") is None:
            return body["result"]
        message = str(body["error"]["message"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        kind = OutcomeUnknown if broadcasting else ServiceUnavailable
        raise kind("evm", method, code=str(answer.status)) from error
    if broadcasting:
        raise _RpcError(message)
    raise ServiceUnavailable("evm", method, detail=message[:100])
