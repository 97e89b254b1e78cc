"""Signed transactions of an EVM chain: from raw bytes to who sends what to whom (EIP-155 legacy and EIP-1559)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from eth_account import Account
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

GAS_OF_TRANSFER = 21_000
GAS_OF_CREATION = 32_000
GAS_OF_ZERO_BYTE, GAS_OF_BYTE = 4, 16
DYNAMIC_FEE = 2
FIELDS_OF_LEGACY, FIELDS_OF_DYNAMIC_FEE = 9, 12
RLP_LIST = 0xC0


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

    @property
    def intrinsic_gas(self) -> int:
        """What the transaction costs before any code runs; all that it costs here."""
        zeros = self.data.count(0)
        data_gas = zeros * GAS_OF_ZERO_BYTE + (len(self.data) - zeros) * GAS_OF_BYTE
        return GAS_OF_TRANSFER + data_gas + (0 if self.to else GAS_OF_CREATION)

    @property
    def most(self) -> int:
        """The most that it can take from its sender."""
        return self.value + self.gas * self.max_fee


def decode_transaction(raw: bytes) -> Transaction:
    """Decode and recover the signer."""
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
    try:
        sender = str(Account.recover_transaction(raw))
    except Exception as error:  # the library has many ways to say no
        raise RawTransactionError("invalid sender") from error
    receiver = to_checksum_address(to) if to else None
    return Transaction(hash_of(raw), kind, sender, receiver, value, nonce, gas, max_fee, tip, data, chain_id, (v, r, s))


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
