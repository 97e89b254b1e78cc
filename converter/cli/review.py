"""`conversions review|resolve|retry|cancel`: what a person does about conversions that the engine cannot end alone."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from converter.bootstrap import build_reviewing
from converter.cli.keys import operator_keys
from converter.cli.output import console, json_option, print_json, speaks_errors
from converter.desk import Next
from converter.domain.conversions import Conversion, State
from converter.domain.errors import InvalidRequest
from converter.enqueue import TaskSender
from converter.evidence import Case
from converter.facts import conversion_facts
from converter.local.home import running_settings
from converter.reviewing import Reviewing, Word

_reason = click.option("--reason", required=True, help="What was found out, and how: it is kept with the conversion.")
_by = click.option("--by", help="Who says it; the user of this machine when not given.")


@click.command()
@click.option("--ask/--no-ask", default=True, help="Also ask the services and chains what they know now (default).")
@json_option
@speaks_errors
def review(ask: bool, as_json: bool) -> None:
    """List the conversions that wait for a person, with everything that is known of them."""
    with _reviewing() as (reviewing, _):
        cases = reviewing.evidence.parked(ask=ask)
    if as_json:
        print_json([case.facts() for case in cases])
        return
    if not cases:
        console.print("nothing waits for a person", highlight=False)
    for case in cases:
        _show(case)


@click.command()
@click.argument("conversion_id")
@click.option("--executed", "verdict", flag_value="executed", help="The payout arrived: complete it (with --txid).")
@click.option("--not-executed", "verdict", flag_value="not executed", help="Nothing was: convert it elsewhere.")
@click.option("--txid", help="Transaction of the payout; with --not-executed, the one that brought the deposit back.")
@click.option("--delivered", help="How much arrived, when it is not what was promised.")
@_reason
@_by
@json_option
@speaks_errors
def resolve(conversion_id: str, verdict: str | None, txid: str | None, as_json: bool, **said: Any) -> None:
    """Say of a parked conversion whether it was executed. Moves money: after --not-executed it is converted again.

    --not-executed is refused while the service shows the order as taken, or while our signed payment can be mined.
    """
    word, delivered = _word(said), said["delivered"]
    if verdict is None:
        raise InvalidRequest("resolve", "says nothing", "--executed --txid …, or --not-executed")
    if verdict == "executed" and txid is None:
        raise InvalidRequest("txid", "is missing", "the transaction in which the payout arrived")
    if verdict != "executed" and delivered is not None:
        raise InvalidRequest("delivered", "means nothing here", "only with --executed")
    with _reviewing() as (reviewing, sender):
        if verdict == "executed":
            reviewing.executed(conversion_id, word, txid or "", delivered)
        else:
            _hint(sender, reviewing.not_executed(conversion_id, word, txid), conversion_id)
        _say(reviewing, conversion_id, f"{verdict}, says {word.by}", as_json=as_json)


@click.command()
@click.argument("conversion_id")
@_reason
@_by
@json_option
@speaks_errors
def retry(conversion_id: str, as_json: bool, **said: Any) -> None:
    """Look again now: at a conversion that waits for its next round, or at a parked one with all its time again."""
    word = _word(said)
    with _reviewing() as (reviewing, sender):
        _hint(sender, reviewing.retry(conversion_id, word), conversion_id)
        _say(reviewing, conversion_id, f"tried again, says {word.by}", as_json=as_json)


@click.command()
@click.argument("conversion_id")
@_reason
@_by
@json_option
@speaks_errors
def cancel(conversion_id: str, as_json: bool, **said: Any) -> None:
    """End a conversion of which nothing is open. What is under way at a service cannot be cancelled."""
    word = _word(said)
    with _reviewing() as (reviewing, _):
        reviewing.cancel(conversion_id, word)
        _say(reviewing, conversion_id, f"cancelled, says {word.by}", as_json=as_json)


def _word(said: dict[str, Any]) -> Word:
    return Word(said["by"] or getpass.getuser(), said["reason"])


@contextmanager
def _reviewing() -> Iterator[tuple[Reviewing, TaskSender]]:
    settings = running_settings()
    owner = f"operator:{getpass.getuser()}:{os.getpid()}"
    sender = TaskSender(settings.redis_url)
    try:
        yield build_reviewing(settings, operator_keys(settings), owner), sender
    finally:
        sender.close()


def _hint(sender: TaskSender, following: Next | None, conversion_id: str) -> None:
    if following is not None:
        sender.send(following, conversion_id)


def _say(reviewing: Reviewing, conversion_id: str, text: str, *, as_json: bool) -> None:
    conversion = reviewing.get(conversion_id)
    if as_json:
        print_json(conversion_facts(conversion))
        return
    console.print(f"{conversion_id}: {text}; it is now {_state(conversion)}", highlight=False, soft_wrap=True)


def _state(conversion: Conversion) -> str:
    return f"{conversion.state}, {conversion.txid}" if conversion.state is State.COMPLETED else str(conversion.state)


def _show(case: Case) -> None:
    """One case as a block of lines: ids are copied from it, so nothing is cut."""
    facts = case.facts()
    lines = [
        f"{facts['id']}  {facts['amount']} {facts['from']} -> {facts['to']} at {facts['address']}",
        f"  since {facts['since']}: {facts['reason']}",
    ]
    if facts["service"]:
        order = facts["orderId"] or "no order id"
        lines.append(f"  at {facts['service']} ({order}), promised {facts['promised']}")
    lines += [
        f"  {one['operation']} {one['key']}: {one['state']}, sent {one['sends']} times from {one['preparedAt']}"
        + (f", deposit {one['depositTxid']}" if one["depositTxid"] else "")
        + (f"; {one['error']}" if one["error"] else "")
        for one in facts["sent"]
    ]
    if facts["answer"]:
        lines.append(f"  now: the service {facts['answer']}")
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
