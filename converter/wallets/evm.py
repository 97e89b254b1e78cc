"""An account on an EVM chain (ETH, ETC) and its tokens (ERC-20), signed here, spoken to over JSON-RPC.

The account's nonce is the fencing token: the ledger gives each payment its own, the chain mines each once. The raw
transaction and its id are stored before the first broadcast; every repeat sends the same bytes. The chain id in the
signature (EIP-155) keeps a payment on its chain; a node of another chain is refused before anything is signed.

Facts: Ethereum JSON-RPC. Fees are EIP-1559 where the head block has a `baseFeePerGas`, else one gas price (ETC). A memo
is the calldata of a native transfer; beside a token there is no place for it. Texts of refusals differ by node, so only
"already known" is read as accepted, and every other refusal leaves the outcome to `observe`.

Not seen here: coins that a contract passes on inside its own transaction. Such a refund is never confirmed by this
wallet, and a person looks. A token must revert what it does not do, as USDT does; one that returns false is not paid.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount

from converter.domain.coins import Asset
from converter.domain.errors import ConfigurationError, OutcomeUnknown, ServiceRejected, ServiceUnavailable
from converter.domain.money import from_units, plain, to_units
from converter.domain.orders import Refund
from converter.domain.transfers import Payment, Sighting, Transfer
from converter.ports import Deadline
from converter.wallets.evm_tokens import DECIMALS_CALL, balance_call, checksummed, moved_to, transfer_call
from converter.wallets.rpc import Node, NodeRefused

DECIMALS = 18
GAS = 21_000
"""Gas of a plain transfer."""
GAS_OF_MEMO_BYTE = 40
"""The floor of EIP-7623, above the 16 of the days before it."""
MOST_GAS = 250_000
"""No deposit needs more; what asks for more is no deposit address."""
MOST_FEE = Decimal("0.1")
"""In whole native coins: a node that suggests fees above this is not believed."""

_KNOWN = re.compile(r"already ?known|\bknown transaction\b", re.IGNORECASE)
"""A node has the transaction already. Not "unknown transaction type", which is a refusal."""
_TXID = re.compile(r"(0x)?[0-9a-f]{64}")


@dataclass(frozen=True)
class EvmNetwork:
    """What the node must be on. `confirmations` is the depth that counts as confirmed; `tokens`: contracts by coin."""

    network: str
    chain_id: int
    confirmations: int = 12
    tokens: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Terms:
    """What a signature needs: prices in wei per unit of gas (no tip: a chain without EIP-1559), and the gas limit."""

    fee_per_gas: int
    tip_per_gas: int | None
    gas: int = GAS


class EvmWallet:
    """See the module."""

    pays_itself = True

    def __init__(self, rpc_url: str, private_key: str, network: EvmNetwork) -> None:
        self._node = Node("evm", rpc_url)
        try:
            self._signer: LocalAccount = Account.from_key(private_key)
        except ValueError:
            # The library's own error shows the key; this one has no context.
            raise ConfigurationError(f"wallet key for {network.network}: accepted: 0x and 64 hex digits") from None
        for coin, contract in network.tokens.items():
            try:
                checksummed(contract)
            except ValueError as error:
                raise ConfigurationError(f"contract of {coin} on {network.network}: {error}") from error
        self._network = network
        self._chain = f"evm:{network.chain_id}"
        self._checked_chain = False

    @property
    def address(self) -> str:
        """The account that pays."""
        return str(self._signer.address)

    def holds(self, asset: Asset) -> bool:
        """The network's own coin, and the tokens that have a contract."""
        mine = asset.network == self._network.network
        return mine and (asset.coin == asset.network or asset.coin in self._network.tokens)

    def account(self, deadline: Deadline) -> tuple[str, str, int]:
        """Chain, account and its next nonce by what is mined; the ledger's own count goes before it."""
        return self._chain, self.address, self._number("eth_getTransactionCount", [self.address, "latest"], deadline)

    def prepare(self, payment: Payment, deadline: Deadline) -> Terms:
        """Fees of now and the gas, after checking chain and balances. Raises ServiceRejected when funds are short."""
        to, value, data = self._call_of(payment)
        self._check_chain(deadline)
        fee, tip = self._fees(deadline)
        least = GAS + GAS_OF_MEMO_BYTE * len(payment.memo.encode())
        balance = self._number("eth_getBalance", [self.address, "pending"], deadline)
        self._check_funds(balance, value + fee * least, self._network.network)
        if payment.asset.coin != payment.asset.network:
            self._check_token(payment, to, deadline)
        call = {"from": self.address, "to": to, "value": hex(value), "data": "0x" + data.hex()}
        try:
            estimate = self._number("eth_estimateGas", [call], deadline, refusing=True)
        except NodeRefused as error:
            raise _rejected(f"the payment would fail: {error.message[:100]}") from error
        gas = least if estimate <= least else estimate + estimate // 4
        if gas > MOST_GAS or from_units(fee * gas, DECIMALS) > MOST_FEE:
            raise _rejected(f"gas {gas} at {fee} wei is more than a deposit may cost")
        self._check_funds(balance, value + fee * gas, self._network.network)
        return Terms(fee, tip, gas)

    def sign(self, payment: Payment, nonce: int, prepared: Terms) -> Transfer:
        """Sign a payment. Deterministic (RFC 6979); no network, no effect."""
        to, value, data = self._call_of(payment)
        fields: dict[str, Any] = {
            "chainId": self._network.chain_id,
            "nonce": nonce,
            "to": to,
            "value": value,
            "data": data,
            "gas": prepared.gas,
        }
        if prepared.tip_per_gas is None:
            fields["gasPrice"] = prepared.fee_per_gas
        else:
            fields |= {"type": 2, "maxFeePerGas": prepared.fee_per_gas, "maxPriorityFeePerGas": prepared.tip_per_gas}
        signed = self._signer.sign_transaction(fields)
        raw, txid = "0x" + bytes(signed.raw_transaction).hex(), "0x" + bytes(signed.hash).hex()
        return Transfer(self._chain, self.address, nonce, raw, txid, payment.address, payment.amount)

    def release(self, prepared: Terms, deadline: Deadline) -> None:
        """Nothing was set aside: an account has one balance, and the ledger gave no nonce away."""

    def broadcast(self, transfer: Transfer, deadline: Deadline) -> None:
        """Hand the stored bytes to the node. Repeating is harmless. Raises OutcomeUnknown for any refusal, and for any
        answer but the transaction's own id."""
        if deadline.expired:
            raise ServiceUnavailable("evm", "broadcast", detail="too late to send")
        try:
            named = self._node.send("eth_sendRawTransaction", [transfer.raw])
        except NodeRefused as error:
            if _KNOWN.search(error.message):
                return
            raise OutcomeUnknown("evm", "broadcast", detail=error.message[:100]) from error
        if str(named).lower() != transfer.txid:
            raise OutcomeUnknown("evm", "broadcast", detail="the node names another transaction")

    def observe(self, transfer: Transfer, deadline: Deadline) -> Sighting:
        """What the chain knows of the transaction, and of its nonce."""
        receipt = self._receipt(transfer.txid, deadline)
        if receipt is not None:
            if not receipt.succeeded:
                return Sighting.FAILED
            return Sighting.CONFIRMED if self._is_deep(receipt, deadline) else Sighting.PENDING
        if self._read("eth_getTransactionByHash", [transfer.txid], deadline) is not None:
            return Sighting.PENDING
        mined = self._number("eth_getTransactionCount", [transfer.account, "latest"], deadline)
        if mined <= transfer.nonce:
            return Sighting.UNKNOWN
        # The nonce is used. Our own transaction may have been mined between the two questions: ask once more.
        again = self._receipt(transfer.txid, deadline)
        return Sighting.PENDING if again is not None else Sighting.REPLACED

    def received(self, asset: Asset, refund: Refund, deadline: Deadline) -> Decimal | None:
        """What the refund's transaction paid to its address, 0 if that is nothing. None while it is not confirmed,
        and where a contract was called whose own payments are not seen here."""
        txid = refund.txid.lower()
        if not self.holds(asset) or not _TXID.fullmatch(txid):
            return None
        txid = txid if txid.startswith("0x") else "0x" + txid
        self._check_chain(deadline)
        receipt = self._receipt(txid, deadline)
        if receipt is None or not self._is_deep(receipt, deadline):
            return None
        if not receipt.succeeded:
            return Decimal(0)
        with self._node.reading("eth_getTransactionByHash"):
            found = self._read("eth_getTransactionByHash", [txid], deadline)
            if found["from"].lower() == self.address.lower():
                return Decimal(0)  # our own payment brings nothing back
            if asset.coin != asset.network:
                contract = self._network.tokens[asset.coin]
                return from_units(moved_to(receipt.told["logs"], contract, refund.address), asset.decimals)
            if (found["to"] or "").lower() == refund.address.lower():
                return from_units(int(found["value"], 16), DECIMALS)
            # The gas of a plain transfer proves that no code ran, which might have passed coins on.
            return Decimal(0) if int(receipt.told["gasUsed"], 16) == GAS else None

    def _call_of(self, payment: Payment) -> tuple[str, int, bytes]:
        """Receiver, value and calldata of the transaction that makes a payment."""
        asset = payment.asset
        if not self.holds(asset):
            raise _rejected(f"{asset} is not in this wallet")
        try:
            units, receiver = to_units(payment.amount, asset.decimals), checksummed(payment.address)
        except ValueError as error:
            raise _rejected(str(error)) from error
        if asset.coin == asset.network:
            return receiver, units, payment.memo.encode()
        if payment.memo:
            raise _rejected("a token transfer carries no memo")
        return checksummed(self._network.tokens[asset.coin]), 0, transfer_call(receiver, units)

    def _fees(self, deadline: Deadline) -> tuple[int, int | None]:
        """Price and tip per unit of gas; no tip on a chain whose blocks have no base fee."""
        head = self._read("eth_getBlockByNumber", ["latest", False], deadline)
        with self._node.reading("eth_getBlockByNumber"):
            told = head.get("baseFeePerGas")
            base = None if told is None else int(told, 16)
        if base is None:
            price = self._number("eth_gasPrice", [], deadline)
            return price + price // 4, None  # the price is paid in full: a small margin against a rise
        tip = self._number("eth_maxPriorityFeePerGas", [], deadline)
        # Twice the base fee leaves room for six full blocks of its rise; what is not needed is not paid.
        return 2 * base + tip, tip

    def _check_token(self, payment: Payment, contract: str, deadline: Deadline) -> None:
        asset = payment.asset
        decimals = self._number("eth_call", [{"to": contract, "data": DECIMALS_CALL}, "latest"], deadline)
        if decimals != asset.decimals:
            raise _rejected(f"the contract of {asset} has {decimals} decimals, not {asset.decimals}")
        asked = {"to": contract, "data": balance_call(self.address)}
        balance = from_units(self._number("eth_call", [asked, "latest"], deadline), asset.decimals)
        if balance < payment.amount:
            raise _rejected(f"the wallet holds {plain(balance)} {asset}, needs {plain(payment.amount)}")

    def _check_funds(self, balance: int, needed: int, coin: str) -> None:
        if balance < needed:
            have, want = plain(from_units(balance, DECIMALS)), plain(from_units(needed, DECIMALS))
            raise _rejected(f"the wallet holds {have} {coin}, needs {want}")

    def _check_chain(self, deadline: Deadline) -> None:
        if self._checked_chain:
            return
        found = self._number("eth_chainId", [], deadline)
        if found != self._network.chain_id:
            raise _rejected(f"the node is on chain {found}, not {self._network.chain_id}")
        self._checked_chain = True

    def _receipt(self, txid: str, deadline: Deadline) -> _Receipt | None:
        told = self._read("eth_getTransactionReceipt", [txid], deadline)
        if told is None:
            return None
        with self._node.reading("eth_getTransactionReceipt"):
            if told["transactionHash"].lower() != txid:
                raise ValueError("another transaction")
            succeeded, mined_in = int(told["status"], 16) == 1, int(told["blockNumber"], 16)
            return _Receipt(succeeded, mined_in, told)

    def _is_deep(self, receipt: _Receipt, deadline: Deadline) -> bool:
        depth = self._number("eth_blockNumber", [], deadline) - receipt.mined_in + 1
        return depth >= self._network.confirmations

    def _number(self, method: str, params: list[Any], deadline: Deadline, *, refusing: bool = False) -> int:
        """A quantity, which the nodes write in hex. With `refusing`, the node's own error is passed on."""
        told = (self._node.read if refusing else self._read)(method, params, deadline)
        with self._node.reading(method):
            return int(told, 16)

    def _read(self, method: str, params: list[Any], deadline: Deadline) -> Any:
        try:
            return self._node.read(method, params, deadline)
        except NodeRefused as error:
            raise ServiceUnavailable("evm", method, detail=error.message[:100]) from error


@dataclass(frozen=True)
class _Receipt:
    """How a transaction was mined."""

    succeeded: bool
    mined_in: int
    told: Mapping[str, Any]


def _rejected(why: str) -> ServiceRejected:
    return ServiceRejected("evm", "prepare", detail=why)
