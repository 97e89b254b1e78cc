"""The settings of the Kraken twin: everything is checked before anything is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from converter.sandbox.twins.kraken_assets import METHODS, Method, asset_named, pair_named
from converter.sandbox.twins.kraken_auth import TIERS, KrakenError
from converter.sandbox.twins.kraken_funding import ENDINGS
from converter.sandbox.twins.kraken_public import PAIR_STATUSES, STATUSES
from converter.sandbox.twins.kraken_withdrawals import SavedAddress

if TYPE_CHECKING:
    from converter.sandbox.twins.kraken import KrakenTwin

COUNTS = ("hide_lookups", "hide_withdrawals", "pending_lookups", "engine_refuses", "surface_after_ms", "nonce_window")
CHOICES = {"withdraw_ending": ENDINGS, "status": STATUSES, "tier": tuple(TIERS)}
SHARES = {"fill_share": Decimal(1), "fee": Decimal(10)}
FIELDS = ("balances", "withdraw_keys", "pair_status", "ambiguous", *COUNTS, *CHOICES, *SHARES)


@dataclass
class Puzzle:
    """An error that hides whether the operation was executed; `count` requests meet it."""

    operation: str
    error: str
    executed: bool
    count: int

    def describe(self) -> dict[str, Any]:
        """The puzzle as it may be set again."""
        return {"operation": self.operation, "error": self.error, "executed": self.executed, "count": self.count}


def apply_settings(twin: KrakenTwin, settings: Mapping[str, Any]) -> None:
    """Check all settings, then set them; ValueError names the first bad one."""
    if strange := settings.keys() - set(FIELDS):
        raise ValueError(f"{min(strange)}: unknown field; accepted: {', '.join(FIELDS)}")
    _check_plain(settings)
    balances = {
        _asset("balances", name): _amount(f"balances.{name}", text) for name, text in _object(settings, "balances")
    }
    keys = {name: _saved(name, row) for name, row in _object(settings, "withdraw_keys")}
    pairs = {
        _pair(name): _chosen(f"pair_status.{name}", PAIR_STATUSES, text)
        for name, text in _object(settings, "pair_status")
    }
    shares = {name: _amount(name, settings[name], most) for name, most in SHARES.items() if name in settings}
    puzzles = [_puzzle(row) for row in settings.get("ambiguous", [])] if "ambiguous" in settings else twin.puzzles
    switches = twin.desk.switches
    twin.desk.balances |= {name: amount + twin.desk.held(name) for name, amount in balances.items()}
    for name, saved in keys.items():
        if saved is None:
            twin.funding.keys.pop(name, None)
        else:
            twin.funding.keys[name] = saved
    twin.notice.pair_statuses |= pairs
    twin.notice.status = settings.get("status", twin.notice.status)
    twin.puzzles = puzzles
    twin.gate.tier = settings.get("tier", twin.gate.tier)
    twin.gate.nonce_window = settings.get("nonce_window", twin.gate.nonce_window)
    twin.funding.ending = settings.get("withdraw_ending", twin.funding.ending)
    twin.funding.hidden_lookups = settings.get("hide_withdrawals", twin.funding.hidden_lookups)
    for name in ("hide_lookups", "pending_lookups", "engine_refuses", "surface_after_ms"):
        setattr(switches, name, settings.get(name, getattr(switches, name)))
    for name, share in shares.items():
        setattr(switches, name, share)


def _check_plain(settings: Mapping[str, Any]) -> None:
    for name in COUNTS:
        number = settings.get(name, 0)
        if type(number) is not int or number < 0:
            raise ValueError(f"{name}: {number!r} is no count; accepted: a whole number from 0")
    for name, accepted in CHOICES.items():
        if name in settings:
            _chosen(name, accepted, settings[name])
    if not isinstance(settings.get("ambiguous", []), list):
        raise ValueError("ambiguous: not a list; accepted: a list of objects")  # noqa: TRY004 - answered with 400


def _object(settings: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    given = settings.get(name, {})
    if not isinstance(given, Mapping):
        raise ValueError(f"{name}: not an object; accepted: an object by name")  # noqa: TRY004 - answered with 400
    return list(given.items())


def _chosen(name: str, accepted: tuple[str, ...], given: Any) -> str:
    if given not in accepted:
        raise ValueError(f"{name}: unknown {given!r}; accepted: {', '.join(accepted)}")
    return str(given)


def _amount(name: str, text: Any, most: Decimal = Decimal(10) ** 15) -> Decimal:
    try:
        amount = Decimal(text) if isinstance(text, str) else Decimal(-1)
    except InvalidOperation:
        amount = Decimal(-1)
    if not amount.is_finite() or not 0 <= amount <= most:
        raise ValueError(f"{name}: {text!r} is no amount; accepted: a decimal string from 0 to {most:f}")
    return amount


def _asset(field: str, name: str) -> str:
    return _known(lambda: asset_named(name).asset_id, f"{field}.{name}")


def _pair(name: str) -> str:
    return _known(lambda: pair_named(name).pair_id, f"pair_status.{name}")


def _known(look_up: Callable[[], str], field: str) -> str:
    try:
        return look_up()
    except KrakenError as error:
        raise ValueError(f"{field}: unknown; accepted: an id or altname of the exchange") from error


def _saved(name: str, row: Any) -> SavedAddress | None:
    if row is None:
        return None
    accepted = 'null or {"asset", "address", "method", "verified"}, the last two optional'
    if not isinstance(row, Mapping) or row.keys() - {"asset", "address", "method", "verified"}:
        raise ValueError(f"withdraw_keys.{name}: no saved address; accepted: {accepted}")
    method = _method(name, row)
    address, verified = row.get("address"), row.get("verified", True)
    if not isinstance(address, str) or not address or type(verified) is not bool:
        raise ValueError(f"withdraw_keys.{name}: no saved address; accepted: {accepted}")
    return SavedAddress(name, method, address, verified)


def _method(name: str, row: Mapping[str, Any]) -> Method:
    asset_id = _asset(f"withdraw_keys.{name}", str(row.get("asset")))
    fitting = [method for method in METHODS if method.asset_id == asset_id]
    wanted = row.get("method", fitting[0].name if fitting else None)
    found = next((method for method in fitting if method.name == wanted), None)
    if found is None:
        names = ", ".join(method.name for method in fitting) or "none"
        raise ValueError(f"withdraw_keys.{name}.method: unknown {wanted!r}; accepted: {names}")
    return found


def _puzzle(row: Any) -> Puzzle:
    accepted = '{"operation": "order" or "withdraw", "error": text, "executed": true or false, "count": 1}'
    if not isinstance(row, Mapping) or row.keys() - {"operation", "error", "executed", "count"}:
        raise ValueError(f"ambiguous: no such object; accepted: {accepted}")
    operation, error, executed, count = (row.get(name) for name in ("operation", "error", "executed", "count"))
    count = 1 if count is None else count
    if operation not in ("order", "withdraw") or not isinstance(error, str) or type(executed) is not bool:
        raise ValueError(f"ambiguous: a field is wrong; accepted: {accepted}")
    if type(count) is not int or count < 1:
        raise ValueError(f"ambiguous.count: {count!r}; accepted: a whole number from 1")
    return Puzzle(operation, error, executed, count)
