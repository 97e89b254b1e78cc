"""`services`: what is configured, how it stands, whether it works, and what each would offer now.

Nothing here is created anywhere; what an operator may change is in `operate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import click
from rich.markup import escape

from converter.bootstrap import build_surveying
from converter.cli.completing import service_ids
from converter.cli.figures import short
from converter.cli.keys import operator_keys
from converter.cli.operate import emergency, isolate, recover, release
from converter.cli.output import console, errors, json_option, print_json, speaks_errors, table
from converter.cli.standing import last_check, read_standings, standing_facts
from converter.domain.coins import asset
from converter.domain.errors import InvalidRequest
from converter.domain.money import parse_amount, plain
from converter.domain.quotes import QuoteRequest
from converter.local.home import running_settings
from converter.settings import Settings
from converter.standing import UNKNOWN, ServiceStanding
from converter.surveying import Declined, Entry, Offered, Step


@click.group()
def services() -> None:
    """Look at the outside services: what is configured, whether it works, what it would offer; take one out."""


for _command in (recover, isolate, release, emergency):
    services.add_command(_command)


@services.command("list")
@json_option
@speaks_errors
def list_services(as_json: bool) -> None:
    """List the configured services, by tier and weight, and how each stands.

    Without Redis or the ledger the state of those that take part is unknown.

    Keys are looked for in the environment of this command; values are never shown.
    """
    settings = running_settings()
    surveying = build_surveying(settings, operator_keys(settings))
    told, now = read_standings(settings), datetime.now(UTC)
    found = [_entry_facts(one, told.get(one.service_id), now) for one in surveying.entries]
    if as_json:
        print_json(found)
        return
    columns = ["Service", "tier", "weight", "State", "Checked", "Reason"]
    table("Services", columns, [_listed(one, last_check(told.get(one["id"]), now)) for one in found])
    table("Settings", ["Service", "Title", "Keys", "Base URL"], [_configured(one) for one in found])
    coins = [[one["id"], ", ".join(one["takes"]), ", ".join(one["pays"])] for one in found if one["takes"]]
    table("Coins", ["Service", "Takes", "Pays"], coins)


@services.command()
@click.argument("service_id", shell_complete=service_ids)
@json_option
@speaks_errors
def check(service_id: str, as_json: bool) -> None:
    """Check one service: settings, health, and its keys by a harmless signed read.

    Ends with 0 only when nothing is wrong.
    """
    settings = running_settings()
    surveying = build_surveying(settings, operator_keys(settings))
    entry = surveying.entry(service_id)
    with errors.status(f"asking {entry.title} …"):
        steps = surveying.check(service_id, _seconds(settings))
    ok = all(step.ok is not False for step in steps)
    if as_json:
        facts = [{"step": one.name, "ok": one.ok, "detail": one.detail or None, "ms": one.ms} for one in steps]
        print_json({"id": service_id, "ok": ok, "baseUrl": entry.base_url, "steps": facts})
    else:
        rows = [[one.name, _verdict(one), one.ms, one.detail] for one in steps]
        table(f"{entry.title} at {entry.base_url or 'no address'}", ["Step", "Result", "ms", "Detail"], rows)
        console.print("[green]all is well[/green]" if ok else "[red]not fit for use[/red]", highlight=False)
    if not ok:
        raise SystemExit(1)


@services.command()
@click.argument("service_id", required=False, shell_complete=service_ids)
@click.option("--from", "from_coin", required=True, help="Coin to give, such as ETH.")
@click.option("--to", "to_coin", required=True, help="Coin to deliver, such as BTC.")
@click.option("--amount", required=True, help="Amount of the coin to give, such as 1.5.")
@click.option("--from-network", help="Network of the coin to give, when not its own.")
@click.option("--to-network", help="Network of the coin to deliver, such as LIGHTNING.")
@json_option
@speaks_errors
def quote(service_id: str | None, as_json: bool, **fields: Any) -> None:
    """Ask one service for its offer, or all enabled ones side by side. Creates nothing.

    Ends with 0 when there is at least one offer.
    """
    settings = running_settings()
    surveying = build_surveying(settings, operator_keys(settings))
    asked = [surveying.entry(service_id)] if service_id else [one for one in surveying.entries if one.enabled]
    request = _request(fields)
    with errors.status(f"asking {', '.join(one.service_id for one in asked)} …"):
        offered, declined = surveying.quotes(request, [one.service_id for one in asked], _seconds(settings))
    if as_json:
        print_json(_quote_facts(request, offered, declined))
    else:
        _show(request, offered, declined)
    if not offered:
        raise SystemExit(1)


def _request(fields: Mapping[str, Any]) -> QuoteRequest:
    from_asset = asset(fields["from_coin"], fields["from_network"], "from_coin")
    to_asset = asset(fields["to_coin"], fields["to_network"], "to_coin")
    if from_asset.coin == to_asset.coin:
        raise InvalidRequest("to_coin", f"is the from_coin, {from_asset.coin}", "two different coins")
    return QuoteRequest(from_asset, to_asset, parse_amount(fields["amount"], from_asset.decimals))


def _seconds(settings: Settings) -> float:
    return settings.multi_service.request_timeout.total_seconds()


def _entry_facts(entry: Entry, standing: ServiceStanding | None, now: datetime) -> dict[str, Any]:
    detail = standing.detail(now) if standing is not None else ""
    return {
        "id": entry.service_id,
        "title": entry.title,
        "priority": entry.place.tier,
        "weight": plain(entry.place.weight),
        "takes": [str(one) for one in entry.takes],
        "pays": [str(one) for one in entry.pays],
        "known": entry.known,
        "enabled": entry.enabled,
        "state": _state(entry, standing),
        "reason": (entry.lacks if entry.enabled or not entry.known else "") or detail or None,
        "needsKeys": entry.needs_keys,
        "missing": list(entry.missing),
        "baseUrl": entry.base_url,
        **standing_facts(standing),
    }


def _state(entry: Entry, standing: ServiceStanding | None) -> str:
    """`disabled`, `not_asked`, or how it stands."""
    if not entry.enabled:
        return "disabled"
    if entry.lacks:
        return "not_asked"
    return UNKNOWN if standing is None else standing.state


def _listed(facts: Mapping[str, Any], checked: str) -> list[Any]:
    figures = [facts[name] for name in ("id", "priority", "weight", "state")]
    reason = "" if _absent(facts) else facts["reason"] or ""  # what is missing stands among the settings
    return [*figures, checked, escape(reason)]


def _absent(facts: Mapping[str, Any]) -> list[str]:
    """Variables of keys that are missing."""
    return [name for name in facts["missing"] if not name.startswith("services[")]


def _configured(facts: Mapping[str, Any]) -> list[Any]:
    absent = _absent(facts)
    keys = "present" if facts["needsKeys"] else "none needed"
    keys = f"missing: {', '.join(absent)}" if absent else keys if facts["known"] else ""
    return [facts["id"], facts["title"], keys, facts["baseUrl"]]


def _verdict(step: Step) -> str:
    return {True: "ok", False: "FAILED", None: "-"}[step.ok]


def _quote_facts(request: QuoteRequest, offered: list[Offered], declined: list[Declined]) -> dict[str, Any]:
    return {
        "fromCoin": request.from_asset.coin,
        "fromNetwork": request.from_asset.network,
        "toCoin": request.to_asset.coin,
        "toNetwork": request.to_asset.network,
        "amount": plain(request.amount),
        "quotes": [_offer_facts(one) for one in offered],
        "refusals": [{"service": one.entry.service_id, "reason": one.reason, "ms": one.ms} for one in declined],
    }


def _offer_facts(offered: Offered) -> dict[str, Any]:
    quote = offered.quote
    return {
        "service": offered.entry.service_id,
        "gross": plain(quote.gross),
        "fees": [{"kind": fee.kind, "amount": plain(fee.amount)} for fee in quote.fees],
        "net": plain(quote.net),
        "rate": plain(offered.rate),
        "firm": quote.firm,
        "expiresIn": offered.expires_in,
        "ms": offered.ms,
    }


def _show(request: QuoteRequest, offered: list[Offered], declined: list[Declined]) -> None:
    title = f"{plain(request.amount)} {request.from_asset} -> {request.to_asset}"
    if offered:
        rows = [_row(_offer_facts(one)) for one in offered]
        table(title, ["Service", "net", "rate", "gross", "Fees", "Good for", "ms"], rows)
    else:
        console.print(f"{title}: no offer", highlight=False)
    if declined:
        table("No offer", ["Service", "ms", "Reason"], [[one.entry.service_id, one.ms, one.reason] for one in declined])


def _row(facts: Mapping[str, Any]) -> list[Any]:
    """Figures as a person reads them, eight digits that count; the exact ones are in the JSON."""
    fees = "\n".join(f"{short(fee['amount'])} {fee['kind']}" for fee in facts["fees"])
    good_for = f"{facts['expiresIn']} s" + ("" if facts["firm"] else ", estimate")
    figures = [short(facts[name]) for name in ("net", "rate", "gross")]
    return [facts["service"], *figures, fees or "none", good_for, facts["ms"]]
