"""Raw transactions in Bitcoin's serialisation (BIP-144 when a witness is in it), and the sandbox's signatures.

A signature here is an HMAC by the sandbox wallet's secret over the transaction without its signatures, the input's
place and the output that it spends: it cannot be made without the secret, and any change to the transaction breaks it.
No curve is involved, so nobody else can check it. Everything around it is the real format.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, replace
from functools import cached_property

from converter.sandbox.utxo_coins import is_segwit

OP_RETURN = 0x6A
UNIT = 100_000_000
MAX_MONEY = 2**63 - 1
_NO_WITNESS: tuple[bytes, ...] = ()

Outpoint = tuple[str, int]


class DecodeError(ValueError):
    """Bytes that are no transaction."""


@dataclass(frozen=True)
class Input:
    """What is spent. Script and witness are empty until it is signed."""

    txid: str
    vout: int
    script: bytes = b""
    witness: tuple[bytes, ...] = _NO_WITNESS
    sequence: int = 0xFFFFFFFD

    @property
    def outpoint(self) -> Outpoint:
        """The output that it spends."""
        return self.txid, self.vout


@dataclass(frozen=True)
class Output:
    """A value in the smallest units, and the script that it pays to."""

    value: int
    script: bytes

    @property
    def data(self) -> bytes | None:
        """What an OP_RETURN output carries; None for a payment."""
        if self.script[:1] != bytes([OP_RETURN]):
            return None
        return _pushed(self.script[1:])


@dataclass(frozen=True)
class RawTransaction:
    """A transaction; equal contents have equal ids."""

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    version: int = 2
    locktime: int = 0

    def serialize(self, *, witness: bool = True) -> bytes:
        """Bytes as they travel; without the witness as the id covers them."""
        witness = witness and any(item.witness for item in self.inputs)
        parts = [self.version.to_bytes(4, "little"), b"\0\1" if witness else b"", _size(len(self.inputs))]
        for item in self.inputs:
            parts += [bytes.fromhex(item.txid)[::-1], item.vout.to_bytes(4, "little")]
            parts += [_size(len(item.script)), item.script, item.sequence.to_bytes(4, "little")]
        parts.append(_size(len(self.outputs)))
        for output in self.outputs:
            parts += [output.value.to_bytes(8, "little"), _size(len(output.script)), output.script]
        for item in self.inputs if witness else ():
            parts += [_size(len(item.witness)), *(_size(len(part)) + part for part in item.witness)]
        return b"".join(parts) + self.locktime.to_bytes(4, "little")

    @cached_property
    def txid(self) -> str:
        """Double SHA-256 without the witness, in reverse."""
        return double_sha(self.serialize(witness=False))

    @cached_property
    def wtxid(self) -> str:
        """Double SHA-256 of everything, in reverse."""
        return double_sha(self.serialize())

    @cached_property
    def vsize(self) -> int:
        """Size for fees: the witness counts a quarter."""
        return (3 * len(self.serialize(witness=False)) + len(self.serialize()) + 3) // 4


def double_sha(data: bytes) -> str:
    """How ids and block hashes are made and written."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()[::-1].hex()


def data_script(data: bytes) -> bytes:
    """The script of an output that only carries data."""
    return bytes([OP_RETURN]) + push(data)


def push(data: bytes) -> bytes:
    """Data inside a script, with its length in front."""
    if len(data) < 0x4C:
        return bytes([len(data)]) + data
    if len(data) < 0x100:
        return b"\x4c" + bytes([len(data)]) + data
    return b"\x4d" + len(data).to_bytes(2, "little") + data


def decode(raw: bytes) -> RawTransaction:
    """Read a transaction. One without inputs looks as if it had a witness: both readings are tried."""
    if raw[4:6] == b"\0\1":
        try:
            return _Reader(raw).transaction(witness=True)
        except DecodeError:
            pass
    return _Reader(raw).transaction(witness=False)


def signed(transaction: RawTransaction, place: int, spent: Output, secret: bytes) -> RawTransaction:
    """The transaction with one input signed."""
    signature, key = _signature(transaction, place, spent, secret), _public_key(spent, secret)
    item = transaction.inputs[place]
    if is_segwit(spent.script):
        item = replace(item, script=b"", witness=(signature, key))
    else:
        item = replace(item, script=push(signature) + push(key), witness=_NO_WITNESS)
    inputs = (*transaction.inputs[:place], item, *transaction.inputs[place + 1 :])
    return replace(transaction, inputs=inputs)


def is_signed(transaction: RawTransaction, place: int, spent: Output, secret: bytes) -> bool:
    """Whether an input carries the signature that the secret makes for exactly this transaction."""
    return transaction.inputs[place] == signed(transaction, place, spent, secret).inputs[place]


def _signature(transaction: RawTransaction, place: int, spent: Output, secret: bytes) -> bytes:
    bare = tuple(replace(item, script=b"", witness=_NO_WITNESS) for item in transaction.inputs)
    message = replace(transaction, inputs=bare).serialize() + place.to_bytes(4, "little")
    return hmac.new(secret, message + spent.value.to_bytes(8, "little") + spent.script, "sha512").digest() + b"\1"


def _public_key(spent: Output, secret: bytes) -> bytes:
    return b"\2" + hmac.new(secret, b"key" + spent.script, "sha256").digest()


def _size(count: int) -> bytes:
    if count < 0xFD:
        return bytes([count])
    return b"\xfd" + count.to_bytes(2, "little") if count < 0x10000 else b"\xfe" + count.to_bytes(4, "little")


def _pushed(script: bytes) -> bytes:
    if not script:
        return b""
    head = 1 if script[0] < 0x4C else script[0] - 0x4A
    return script[head:]


class _Reader:
    """Walks over the bytes of a transaction."""

    def __init__(self, raw: bytes) -> None:
        self._raw, self._at = raw, 0

    def transaction(self, *, witness: bool) -> RawTransaction:
        """Everything, with nothing left over."""
        version = self._number(4)
        if witness:
            self._take(2)
        inputs = [self._input() for _ in range(self._count())]
        outputs = tuple(self._output() for _ in range(self._count()))
        if witness:
            inputs = [replace(item, witness=self._witness()) for item in inputs]
            if not any(item.witness for item in inputs):
                raise DecodeError("a witness that is empty")
        locktime = self._number(4)
        if self._at != len(self._raw):
            raise DecodeError("bytes are left over")
        return RawTransaction(tuple(inputs), outputs, version, locktime)

    def _input(self) -> Input:
        txid, vout = self._take(32)[::-1].hex(), self._number(4)
        script = self._take(self._count())
        return Input(txid, vout, script, sequence=self._number(4))

    def _output(self) -> Output:
        value = self._number(8)
        if value > MAX_MONEY:
            raise DecodeError("a negative value")
        return Output(value, self._take(self._count()))

    def _witness(self) -> tuple[bytes, ...]:
        return tuple(self._take(self._count()) for _ in range(self._count()))

    def _count(self) -> int:
        first = self._number(1)
        return self._number({0xFD: 2, 0xFE: 4, 0xFF: 8}[first]) if first >= 0xFD else first

    def _number(self, width: int) -> int:
        return int.from_bytes(self._take(width), "little")

    def _take(self, length: int) -> bytes:
        taken = self._raw[self._at : self._at + length]
        if len(taken) < length:
            raise DecodeError("the bytes end too early")
        self._at += length
        return taken
