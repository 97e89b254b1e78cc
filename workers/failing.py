"""What is told of a task that fails: where, and which kind of error; never its text.

The text of an error may hold what a message never may: the parameters of a statement, an address, an amount. It would
go through the broker to every onlooker, into the result and into the log.
"""

from __future__ import annotations

from typing import Any

from celery import Task
from celery.exceptions import CeleryError


class TaskFailed(Exception):
    """Raised in the place of whatever a task raised; `kinds` names its types, the first cause last."""

    def __init__(self, *kinds: str) -> None:
        self.kinds = kinds
        super().__init__(*kinds)

    def __str__(self) -> str:
        return " from ".join(self.kinds)


def failed(error: BaseException) -> TaskFailed:
    """The error without its text. The way through our code is kept: a trace quotes source, not values."""
    kinds: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(kinds) < 5:
        kinds.append(type(cause).__name__)
        cause = cause.__cause__
    quiet = TaskFailed(*kinds).with_traceback(error.__traceback__)
    quiet.__suppress_context__ = True
    return quiet


class QuietTask(Task):  # type: ignore[type-arg]  # Celery's class takes no parameters at run time
    """The class of every task."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run it. Celery's own signals (retry, ignore, reject) pass."""
        try:
            return self.run(*args, **kwargs)
        except CeleryError:
            raise
        except Exception as error:  # noqa: BLE001  raised again, without its text
            raise failed(error) from None
