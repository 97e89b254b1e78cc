"""A pool backend that is killed (-9) while it asks for a conversion, or while it hears of one.

`convert <key> <address> [accepted | inserted]` asks for a conversion under an idempotency key and prints its id;
`follow [heard]` prints the id of every conversion that is completed, until the one that its input names. With the last
word it dies at that point, which it prints first.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from converter import MultiServiceConverter, listening
from converter.domain.events import CONVERSION_COMPLETED
from converter.enqueue import TaskSender
from converter.ledger.conversions import SqlConversions

LONGEST = 20.0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def die(point: str) -> None:
    say(point)
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner: type, name: str, point: str) -> None:
    def dying(*_args: Any, **_kwargs: Any) -> None:
        die(point)

    setattr(owner, name, dying)


def after_being_told(point: str) -> None:
    """The handlers ran; that this event was heard is noted nowhere yet but in this process."""
    original: Callable[..., None] = listening._tell

    @wraps(original)
    def tell(hearing: Any, event: Any) -> None:
        original(hearing, event)
        if event.name == CONVERSION_COMPLETED:
            die(point)

    listening._tell = tell


def convert(key: str, address: str) -> None:
    with MultiServiceConverter() as converter:
        fields = {"from_coin": "ETH", "to_coin": "BTC", "amount": "0.5", "address": address}
        say(converter.convert(**fields, idempotency_key=key).id)  # type: ignore[arg-type]


def follow() -> None:
    heard: queue.SimpleQueue[str] = queue.SimpleQueue()

    def tell(payload: dict[str, Any]) -> None:
        say(payload["conversionId"])
        heard.put(payload["conversionId"])

    with MultiServiceConverter(follower="backend") as converter:
        converter.on(CONVERSION_COMPLETED, tell)
        say("following")
        last = sys.stdin.readline().strip()
        while heard.get(timeout=LONGEST) != last:
            pass


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    if words and words[-1] == "accepted":
        before(SqlConversions, "add", words.pop())
    elif words and words[-1] == "inserted":
        before(TaskSender, "send", words.pop())
    elif words and words[-1] == "heard":
        after_being_told(words.pop())
    {"convert": convert, "follow": follow}[what](*words)
