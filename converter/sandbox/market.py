"""A market of the sandbox's own: a seeded random walk of US-dollar prices, the same on every run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

PRICES = {
    "BTC": "52150.00",
    "ETH": "3400.00",
    "LTC": "71.50",
    "BCH": "365.00",
    "DOGE": "0.1240",
    "RVN": "0.0212",
    "ETC": "24.60",
    "USDT": "1.00",
}
STABLE = {"USDT"}  # pegged to the dollar: it does not walk
PRICE_UNIT = Decimal("0.00000001")
RATE_UNIT = Decimal("1e-16")  # cheap coins for bitcoin need more than eight decimals to carry a wobble
VOLATILITY = Decimal("0.0005")
MAX_VOLATILITY = Decimal("0.5")
STEP_MS = 1000
WOBBLE_STEPS = 16  # a wobble moves evenly between two drawn points this many steps apart
FIELDS = ("prices", "volatility", "step_ms")


class SeededMarket:
    """Mid prices; see `twin.Market`.

    The shock of a coin at a step depends on (seed, coin, step) alone. Steps follow the clock, unaffected by the
    sandbox's speed: faster orders should not mean wilder prices.
    """

    def __init__(self, seed: int, now: Callable[[], float]) -> None:
        self._seed = seed
        self._now = now
        self._prices = {coin: Decimal(price).quantize(PRICE_UNIT) for coin, price in PRICES.items()}
        self._volatility = VOLATILITY
        self._step_ms = STEP_MS
        self._step = 0
        self._since = now()  # when step `_first` began
        self._first = 0

    def rate(self, from_coin: str, to_coin: str) -> Decimal:
        """Units of `to_coin` for one unit of `from_coin`, to 16 decimals; KeyError for an unknown coin."""
        self.advance()
        return (self._prices[from_coin] / self._prices[to_coin]).quantize(RATE_UNIT)

    def wobble(self, name: str, width: Decimal) -> Decimal:
        """A factor in [1 - width, 1 + width] that depends on (seed, name, step) alone and moves slowly."""
        self.advance()
        point, part = divmod(self._step, WOBBLE_STEPS)
        start, end = self._draw("wobble", name, point), self._draw("wobble", name, point + 1)
        return 1 + width * (start + (end - start) * part / WOBBLE_STEPS)

    def advance(self) -> None:
        """Walk up to the step of the present moment."""
        present = self._first + int((self._now() - self._since) * 1000) // self._step_ms
        while self._step < present:
            self._step += 1
            for coin in self._prices.keys() - STABLE:
                moved = self._prices[coin] * (1 + self._volatility * self._draw("walk", coin, self._step))
                self._prices[coin] = max(PRICE_UNIT, moved.quantize(PRICE_UNIT))

    def describe(self) -> dict[str, Any]:
        """What `GET /_sandbox/market` answers."""
        self.advance()
        return {
            "seed": self._seed,
            "prices": {coin: format(price, "f") for coin, price in self._prices.items()},
            "volatility": format(self._volatility, "f"),
            "step_ms": self._step_ms,
        }

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Set any of `prices`, `volatility`, `step_ms`; ValueError names a bad field, and nothing has changed then."""
        for name in settings:
            if name not in FIELDS:
                raise ValueError(f"{name}: unknown field; accepted: {', '.join(FIELDS)}")
        prices = self._checked_prices(settings.get("prices", {}))
        volatility = settings.get("volatility", format(self._volatility, "f"))
        volatility = _decimal("volatility", volatility, "a decimal string from 0 to 0.5")
        if volatility > MAX_VOLATILITY:
            raise ValueError(f"volatility: {volatility} is too much; accepted: a decimal string from 0 to 0.5")
        step_ms = settings.get("step_ms", self._step_ms)
        if not isinstance(step_ms, int) or isinstance(step_ms, bool) or step_ms < 1:
            raise ValueError(f"step_ms: {step_ms!r} is no duration; accepted: whole milliseconds from 1")
        self.advance()
        self._first, self._since = self._step, self._now()
        self._prices |= prices
        self._volatility, self._step_ms = volatility, step_ms

    def _checked_prices(self, prices: Any) -> dict[str, Decimal]:
        if not isinstance(prices, Mapping):
            raise ValueError("prices: not an object; accepted: an object of coin and dollar price")  # noqa: TRY004
        checked = {}
        for coin, price in prices.items():
            if coin not in self._prices:
                raise ValueError(f"prices.{coin}: unknown coin; accepted: {', '.join(self._prices)}")
            accepted = "a decimal string above 0"
            checked[coin] = _decimal(f"prices.{coin}", price, accepted).quantize(PRICE_UNIT)
            if not checked[coin]:
                raise ValueError(f"prices.{coin}: {price} is no price; accepted: {accepted}")
        return checked

    def _draw(self, kind: str, name: str, step: int) -> Decimal:
        """An even draw in [-1, 1] from nothing but the seed and the arguments."""
        return 2 * chance(self._seed, kind, name, step) - 1


def chance(*parts: object) -> Decimal:
    """An even draw in [0, 1], the same for the same parts."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=6).digest()
    return Decimal(int.from_bytes(digest)) / (1 << 48)


def _decimal(field: str, text: Any, accepted: str) -> Decimal:
    try:
        number = Decimal(text) if isinstance(text, str) else Decimal("NaN")
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or number < 0 or abs(number.adjusted()) > 15:
        raise ValueError(f"{field}: {text!r} is no such number; accepted: {accepted}")
    return number
