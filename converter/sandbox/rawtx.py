"""Signed transactions of an EVM chain: from raw bytes to who sends what to whom (EIP-155 legacy and EIP-1559), and what
they do to accounts. The one contract is a token with six decimals, of which only `transfer` is played."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from eth_account import Account
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from converter.sandbox.credentials import USDT_CONTRACT
from converter.sandbox.evm_networks import BASE_FEE

GAS_OF_TRANSFER = 21_000
GAS_OF_CREATION = 32_000
GAS_OF_ZERO_BYTE, GAS_OF_BYTE = 4, 16
DYNAMIC_FEE = 2
FIELDS_OF_LEGACY, FIELDS_OF_DYNAMIC_FEE = 9, 12
RLP_LIST = 0xC0
WEI = Decimal(10) ** 18
TOKEN_UNIT = 10**6
GAS_OF_TOKEN = 24_000  # on top of the intrinsic gas; an inferred, round figure
DECIMALS, BALANCE_OF = bytes.fromhex("313ce567"), bytes.fromhex("70a08231")  # decimals(), balanceOf(address)
TRANSFER = bytes.fromhex("a9059cbb")  # transfer(address,uint256)
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0  # of the curve (EIP-2)


class RawTransactionError(ValueError):
    """Bytes that are no transaction this chain accepts."""


@dataclass(frozen=True)
class Transaction:
    """A transaction that somebody really signed; amounts in wei."""

    txid: str
    kind: int  # 0 legacy, 2 dynamic fee
    sender: str
    to: str | None
    value: int
    nonce: int
    gas: int
    max_fee: int
    tip: int
    data: bytes
    chain_id: int | None  # None: no replay protection
    signature: tuple[int, int, int]  # v (or y parity), r, s
    token: str | None = USDT_CONTRACT  # the contract on its chain

    @property
    def intrinsic_gas(self) -> int:
        """What the transaction costs before any code runs; all that it costs here."""
        return data_gas(self.data) + (0 if self.to else GAS_OF_CREATION)

    @property
    def needed_gas(self) -> int:
        """What it costs in all when it goes through."""
        return self.intrinsic_gas + (GAS_OF_TOKEN if self.calls_token and self.data else 0)

    @property
    def calls_token(self) -> bool:
        """Whether it speaks to the token's contract."""
        return self.token is not None and self.to == self.token

    @property
    def price(self) -> int:
        """What a unit of gas costs the sender, in wei."""
        return min(self.max_fee, BASE_FEE + self.tip)

    @property
    def most(self) -> int:
        """The most that it can take from its sender."""
        return self.value + self.gas * self.max_fee


def decode_transaction(raw: bytes, token: str | None = USDT_CONTRACT) -> Transaction:
    """Decode and recover the signer; `token` is the contract on the chain that asks."""
    chain_id: int | None
    if raw[:1] == bytes([DYNAMIC_FEE]):
        fields = _fields(raw[1:], FIELDS_OF_DYNAMIC_FEE)
        given_chain, nonce, tip, max_fee, gas = map(_number, fields[:5])
        to, value, data = fields[5], _number(fields[6]), fields[7]
        v, r, s = map(_number, fields[9:])
        kind, chain_id = DYNAMIC_FEE, given_chain
    elif raw and raw[0] >= RLP_LIST:
        fields = _fields(raw, FIELDS_OF_LEGACY)
        nonce, max_fee, gas = map(_number, fields[:3])
        to, value, data = fields[3], _number(fields[4]), fields[5]
        v, r, s = map(_number, fields[6:])
        kind, tip, chain_id = 0, max_fee, (v - 35) // 2 if v >= 35 else None
    else:
        raise RawTransactionError("transaction type not supported")
    if not isinstance(data, bytes) or not isinstance(to, bytes) or len(to) not in (0, 20):
        raise RawTransactionError("rlp: wrong size of a field")
    if s > HALF_ORDER:
        raise RawTransactionError("invalid transaction v, r, s values")
    try:
        sender = str(Account.recover_transaction(raw))
    except Exception as error:  # the library has many ways to say no
        raise RawTransactionError("invalid sender") from error
    receiver = to_checksum_address(to) if to else None
    signature = (v, r, s)
    return Transaction(
        hash_of(raw), kind, sender, receiver, value, nonce, gas, max_fee, tip, data, chain_id, signature, token
    )


@dataclass(frozen=True)
class Outcome:
    """How a mined transaction ended: `token_moves` is receiver and units when tokens moved."""

    went_through: bool
    gas_used: int
    token_moves: tuple[str, int] | None = None


class Accounts:
    """What transactions make of the start: balances in wei and token units, nonces, and who got what."""

    def __init__(self, balances: dict[str, int], tokens: dict[str, int], rich: str) -> None:
        self.balances: dict[str, int] = defaultdict(int, balances)
        self.tokens: dict[str, int] = defaultdict(int, tokens)
        self.nonces: dict[str, int] = defaultdict(int)
        self.received: dict[str, list[tuple[str, Decimal, bytes]]] = defaultdict(list)
        self.received_tokens: dict[str, list[tuple[str, Decimal]]] = defaultdict(list)
        self.outcomes: dict[str, Outcome] = {}
        self._rich = rich  # pays from outside and is never out of funds

    def apply(self, transaction: Transaction) -> None:
        """Let a transaction happen. One that fails keeps its value and costs all its gas, as on a real chain."""
        outcome = self._outcome(transaction)
        self.outcomes[transaction.txid] = outcome
        sender, value = key(transaction.sender), transaction.value if outcome.went_through else 0
        if sender != self._rich:
            self.nonces[sender] += 1
            self.balances[sender] -= value + outcome.gas_used * transaction.price
        if outcome.token_moves:
            receiver, units = key(outcome.token_moves[0]), outcome.token_moves[1]
            self.tokens[sender] -= units
            self.tokens[receiver] += units
            self.received_tokens[receiver].append((transaction.txid, Decimal(units) / TOKEN_UNIT))
        elif transaction.to and outcome.went_through:
            self.balances[key(transaction.to)] += value
            row = (transaction.txid, Decimal(value) / WEI, transaction.data)
            self.received[key(transaction.to)].append(row)

    def view(self, data: bytes) -> int | None:
        """What the token answers to a call that changes nothing; None when it reverts."""
        if data == DECIMALS:
            return 6
        if len(data) == 36 and data[:4] == BALANCE_OF:
            return self.tokens.get("0x" + data[16:].hex(), 0)
        return None

    def _outcome(self, transaction: Transaction) -> Outcome:
        failed = Outcome(False, transaction.gas)
        if not transaction.calls_token:
            return Outcome(True, transaction.intrinsic_gas)
        moves = read_transfer(transaction.data)
        sender = key(transaction.sender)
        if transaction.value or moves is None or transaction.gas < transaction.needed_gas:
            return failed
        if sender != self._rich and self.tokens[sender] < moves[1]:
            return failed
        return Outcome(True, transaction.needed_gas, moves)


def data_gas(data: bytes) -> int:
    """Gas of a transfer that carries these bytes."""
    zeros = data.count(0)
    return GAS_OF_TRANSFER + zeros * GAS_OF_ZERO_BYTE + (len(data) - zeros) * GAS_OF_BYTE


def read_transfer(data: bytes) -> tuple[str, int] | None:
    """Receiver and units of a token transfer; None for any other calldata."""
    if len(data) != 68 or data[:4] != TRANSFER or any(data[4:16]):
        return None
    return str(to_checksum_address(data[16:36])), int.from_bytes(data[36:])


def transfer_call(address: str, units: int) -> bytes:
    """Calldata of a token transfer."""
    return TRANSFER + bytes(12) + bytes.fromhex(address[2:]) + units.to_bytes(32)


def key(address: str) -> str:
    """Addresses are kept in lower case: the checksum is in the letters' case and not all clients write it."""
    return address.lower()


def hash_of(data: bytes) -> str:
    """Keccak-256 in hex, as transaction ids and block hashes are written."""
    return "0x" + keccak(data).hex()


def address_of(data: bytes) -> str:
    """The checksummed address that hashes of these bytes point to."""
    return str(to_checksum_address(keccak(data)[-20:]))


def _number(field: Any) -> int:
    if not isinstance(field, bytes) or len(field) > 32 or field[:1] == b"\0":
        raise RawTransactionError("rlp: no canonical integer")
    return int.from_bytes(field)


def _fields(data: bytes, count: int) -> list[Any]:
    item, rest = _item(data)
    if rest or not isinstance(item, list) or len(item) != count:
        raise RawTransactionError("rlp: wrong number of fields")
    return item


def _item(data: bytes) -> tuple[Any, bytes]:
    """First RLP item (bytes or a list) and what follows it."""
    if not data:
        raise RawTransactionError("rlp: unexpected end of input")
    head = data[0]
    if head < 0x80:
        return data[:1], data[1:]
    is_list = head >= RLP_LIST
    size = head - (RLP_LIST if is_list else 0x80)
    start = 1
    if size > 55:
        start = 1 + size - 55
        size = int.from_bytes(data[1:start])
    payload = data[start : start + size]
    if len(payload) < size:
        raise RawTransactionError("rlp: value larger than the input")
    return list(_items(payload)) if is_list else payload, data[start + size :]


def _items(payload: bytes) -> Iterator[Any]:
    while payload:
        item, payload = _item(payload)
        yield item
