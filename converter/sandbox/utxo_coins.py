"""The coins whose nodes speak Bitcoin Core's JSON-RPC, and their addresses.

Source: `research/exchange_libs_wallets.md` B1 and B3 (version bytes, prefixes, which forks are old). Encodings: base58
with a checksum, bech32 (BIP-173), bech32m (BIP-350), cashaddr. Inferred here: node versions, fees and dust limits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_BECH32_CONST, _BECH32M_CONST = 1, 0x2BC830A3
_BECH32_STEPS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CASH_STEPS = (0x98F2BC8E61, 0x79B76D99E2, 0xF33E5FB3C4, 0xAE2EABE2A8, 0x1E4F43E470)


@dataclass(frozen=True)
class Coin:
    """A coin, how its node describes itself, and its fees in the coin's smallest units per 1000 bytes."""

    ticker: str
    name: str
    pubkey_version: int
    script_version: int
    subversion: str
    version: int
    relay_fee: int = 1000
    fee: int = 5000
    dust: int = 546
    each: int = 50  # whole coins in each of the wallet's outputs at the start
    hrp: str | None = None  # segwit prefix
    cash: str | None = None  # cashaddr prefix
    old: bool = False  # signs with `signrawtransaction`, knows no `testmempoolaccept` nor `getbalances`

    @property
    def service_id(self) -> str:
        """Under this name the server mounts it and faults address it."""
        return self.ticker.lower()


COINS = {
    coin.ticker: coin
    for coin in (
        Coin("BTC", "Bitcoin", 0, 5, "/Satoshi:27.1.0/", 270100, hrp="bc"),
        Coin("LTC", "Litecoin", 48, 50, "/LitecoinCore:0.21.4/", 210400, each=20_000, dust=5460, fee=10_000, hrp="ltc"),
        Coin(
            "DOGE",
            "Dogecoin",
            30,
            22,
            "/Shibetoshi:1.14.9/",
            1140900,
            100_000,
            1_000_000,
            1_000_000,
            20_000_000,
            old=True,
        ),
        Coin(
            "BCH", "Bitcoin Cash", 0, 5, "/Bitcoin Cash Node:28.0.1/", 28000100, fee=1000, each=5000, cash="bitcoincash"
        ),
        Coin("RVN", "Raven", 60, 122, "/Ravencoin:4.6.1/", 4060100, 1_000_000, 1_100_000, 5460, 100_000_000, old=True),
    )
}


def address_of_hash(coin: Coin, digest: bytes) -> str:
    """The address in the coin's usual form that pays to the key with this 20-byte hash."""
    if coin.hrp:
        return _segwit_address(coin.hrp, 0, digest)
    if coin.cash:
        return _cash_address(coin.cash, 0, digest)
    return _base58check(bytes([coin.pubkey_version]) + digest)


def script_of(coin: Coin, address: str) -> bytes:
    """The output script that an address stands for; ValueError when it is none of this coin."""
    if coin.hrp and address.lower().startswith(coin.hrp + "1"):
        version, program = _segwit_program(coin.hrp, address)
        return bytes([0x50 + version if version else 0, len(program)]) + program
    if coin.cash and (":" in address or address[:1] in "qpQP"):
        kind, digest = _cash_hash(coin.cash, address)
        return _key_script(digest) if kind == 0 else _hash_script(digest)
    payload = _base58check_payload(address)
    if payload[0] == coin.pubkey_version:
        return _key_script(payload[1:])
    if payload[0] == coin.script_version:
        return _hash_script(payload[1:])
    raise ValueError("the version byte is another coin's")


def address_of(coin: Coin, script: bytes) -> str | None:
    """The address of an output script; None for scripts that have none."""
    if len(script) == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac":
        digest = script[3:23]
        return _cash_address(coin.cash, 0, digest) if coin.cash else _base58check(bytes([coin.pubkey_version]) + digest)
    if len(script) == 23 and script[:2] == b"\xa9\x14" and script[22:] == b"\x87":
        digest = script[2:22]
        return _cash_address(coin.cash, 1, digest) if coin.cash else _base58check(bytes([coin.script_version]) + digest)
    if is_segwit(script) and coin.hrp:
        return _segwit_address(coin.hrp, script[0] and script[0] - 0x50, script[2:])
    return None


def is_segwit(script: bytes) -> bool:
    """Whether a script is a witness program."""
    return 4 <= len(script) <= 42 and (not script[0] or 0x51 <= script[0] <= 0x60) and script[1] == len(script) - 2


def _key_script(digest: bytes) -> bytes:
    return b"\x76\xa9\x14" + digest + b"\x88\xac"


def _hash_script(digest: bytes) -> bytes:
    return b"\xa9\x14" + digest + b"\x87"


def _base58check(payload: bytes) -> str:
    data = payload + hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    number, text = int.from_bytes(data), ""
    while number:
        number, digit = divmod(number, 58)
        text = _BASE58[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def _base58check_payload(text: str) -> bytes:
    number = 0
    for letter in text:
        number = number * 58 + _BASE58.index(letter)  # ValueError for a foreign letter
    data = b"\0" * (len(text) - len(text.lstrip("1"))) + number.to_bytes((number.bit_length() + 7) // 8)
    if len(data) != 25 or hashlib.sha256(hashlib.sha256(data[:-4]).digest()).digest()[:4] != data[-4:]:
        raise ValueError("no base58 address")
    return data[:-4]


def _segwit_address(hrp: str, version: int, program: bytes) -> str:
    data = [version, *_regroup(program, 8, 5, pad=True)]
    mask = _bech32_sum([*_spread(hrp), *data, *[0] * 6]) ^ (_BECH32M_CONST if version else _BECH32_CONST)
    data += [mask >> 5 * (5 - place) & 31 for place in range(6)]
    return f"{hrp}1" + "".join(_BECH32[value] for value in data)


def _segwit_program(hrp: str, address: str) -> tuple[int, bytes]:
    if address not in (address.lower(), address.upper()):
        raise ValueError("mixed case")
    data = [_BECH32.index(letter) for letter in address.lower()[len(hrp) + 1 :]]
    if not 8 <= len(data) <= 71:
        raise ValueError("wrong length")
    version, constant = data[0], _BECH32M_CONST if data[0] else _BECH32_CONST
    program = bytes(_regroup(data[1:-6], 5, 8, pad=False))
    if _bech32_sum([*_spread(hrp), *data]) != constant:
        raise ValueError("wrong checksum")
    if version > 16 or not 2 <= len(program) <= 40 or (not version and len(program) not in (20, 32)):
        raise ValueError("no witness program")
    return version, program


def _cash_address(prefix: str, kind: int, digest: bytes) -> str:
    data = _regroup(bytes([kind << 3]) + digest, 8, 5, pad=True)
    mask = _cash_sum([*_lower_bits(prefix), *data, *[0] * 8])
    data += [mask >> 5 * (7 - place) & 31 for place in range(8)]
    return f"{prefix}:" + "".join(_BECH32[value] for value in data)


def _cash_hash(prefix: str, address: str) -> tuple[int, bytes]:
    if address not in (address.lower(), address.upper()):
        raise ValueError("mixed case")
    given, _, body = address.lower().rpartition(":")
    data = [_BECH32.index(letter) for letter in body]
    if given not in ("", prefix) or _cash_sum([*_lower_bits(prefix), *data]):
        raise ValueError("wrong prefix or checksum")
    payload = bytes(_regroup(data[:-8], 5, 8, pad=False))
    if len(payload) != 21 or payload[0] not in (0, 8):
        raise ValueError("neither a key nor a script")
    return payload[0] >> 3, payload[1:]


def _spread(hrp: str) -> list[int]:
    return [ord(letter) >> 5 for letter in hrp] + [0] + _lower_bits(hrp)[:-1]


def _lower_bits(prefix: str) -> list[int]:
    return [ord(letter) & 31 for letter in prefix] + [0]


def _bech32_sum(values: Iterable[int]) -> int:
    total = 1
    for value in values:
        top, total = total >> 25, (total & 0x1FFFFFF) << 5 ^ value
        for bit, step in enumerate(_BECH32_STEPS):
            total ^= step if top >> bit & 1 else 0
    return total


def _cash_sum(values: Iterable[int]) -> int:
    total = 1
    for value in values:
        top, total = total >> 35, (total & 0x07FFFFFFFF) << 5 ^ value
        for bit, step in enumerate(_CASH_STEPS):
            total ^= step if top >> bit & 1 else 0
    return total ^ 1


def _regroup(values: Iterable[int], width: int, target: int, *, pad: bool) -> list[int]:
    """The same bits in groups of another width; ValueError when a rest is left that is not only zero padding."""
    bits, held, groups = 0, 0, []
    for value in values:
        bits, held = (bits << width | value) & 0xFFFF, held + width
        while held >= target:
            held -= target
            groups.append(bits >> held & (1 << target) - 1)
    if pad and held:
        groups.append(bits << target - held & (1 << target) - 1)
    elif not pad and (held >= width or bits & (1 << held) - 1):
        raise ValueError("wrong padding")
    return groups
