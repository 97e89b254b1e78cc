"""A person's word on a conversion, over HTTP: cancel, retry, resolve, a deposit that was paid by hand. Moves money.

The rules are those of `reviewing`: the conversion is claimed by compare-and-set first, so of two requests at once one
is told to come again, whatever process or thread it runs on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from fastapi import Body as Given
from fastapi.responses import JSONResponse

from converter.api import forms, shapes
from converter.api.conversions import PLACE, read_conversion
from converter.api.forms import ConversionId
from converter.api.lanes import Lane
from converter.api.problems import Problem
from converter.depositing import report_deposit
from converter.desk import Next
from converter.domain.errors import InvalidRequest
from converter.ports import ViewedLedger
from converter.reviewing import Reviewing, Word

AT_ONCE = 3
"""A resolution asks the service and the chain first, which may take ten seconds."""

_OF_THE_CONVERSION = ("cancel", "retry", "resolve", "executed", "not_executed", "conversion_id")
"""What `reviewing` and `depositing` name when the conversion is what does not fit, and not a field of the request."""

Send = Callable[[str, str], bool]


class Said(forms.Body):
    """Who says it, and why: it is kept with the conversion."""

    reason: forms.Reason
    by: forms.By = "api"


class Resolution(Said):
    """`executed`: the payout arrived in `txid`, as much as was promised unless `delivered` says otherwise.

    `notExecuted`: nothing was and can be executed, or the deposit came back in `refundTxid`; it is converted again.
    """

    verdict: Literal["executed", "notExecuted"]
    txid: forms.Txid | None = None
    delivered: forms.Amount | None = None
    refund_txid: forms.Txid | None = None

    def check(self) -> None:
        """Raises InvalidRequest for fields that do not go together."""
        executed = self.verdict == "executed"
        if executed and self.txid is None:
            raise InvalidRequest("txid", "is missing", "the transaction in which the payout arrived")
        if executed and self.refund_txid is not None:
            raise InvalidRequest("refund_txid", "means nothing here", "only with notExecuted")
        for name, given in (("txid", self.txid), ("delivered", self.delivered)):
            if not executed and given is not None:
                raise InvalidRequest(name, "means nothing here", "only with executed")


class Deposited(forms.Body):
    """The transaction with which a person paid a deposit (a wallet of kind `manual`)."""

    txid: forms.DepositTxid


def _examples(**bodies: dict[str, str]) -> Any:
    return Given(openapi_examples={name: {"value": body} for name, body in bodies.items()})


_WHY = _examples(cancel={"reason": "the miner asked for another coin", "by": "alice"})
_AGAIN = _examples(retry={"reason": "the service works again"})
_WORDS = _examples(
    executed={"verdict": "executed", "txid": "4a5e1e4b", "reason": "seen on the chain", "by": "alice"},
    notExecuted={"verdict": "notExecuted", "reason": "its support says that it never had the order", "by": "alice"},
)
_PAID = _examples(deposit={"txid": "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"})


def action_routes(ledger: ViewedLedger, reviewing: Reviewing, send: Send) -> APIRouter:
    """The routes that change a conversion. Each answers with the conversion as it is then."""
    router = APIRouter(prefix=PLACE + "/{conversion_id}", tags=["actions"])
    hands, lane = _Hands(ledger, reviewing, send), Lane(AT_ONCE)

    async def answer(act: Callable[[], dict[str, Any]]) -> JSONResponse:
        return JSONResponse(await lane.run(act))

    @router.post("/cancel", operation_id="cancelConversion", response_model=shapes.Conversion)
    async def cancel(conversion_id: ConversionId, body: Annotated[Said, _WHY]) -> Any:
        """End a conversion of which nothing is open. What is under way at a service cannot be cancelled."""
        return await answer(partial(hands.cancel, conversion_id, body))

    @router.post("/retry", operation_id="retryConversion", response_model=shapes.Conversion)
    async def retry(conversion_id: ConversionId, body: Annotated[Said, _AGAIN]) -> Any:
        """Look again now: at one that waits for its next round, or at a parked one with all its time again."""
        return await answer(partial(hands.retry, conversion_id, body))

    @router.post("/resolve", operation_id="resolveConversion", response_model=shapes.Conversion)
    async def resolve(conversion_id: ConversionId, body: Annotated[Resolution, _WORDS]) -> Any:
        """Say of a parked one whether it was executed. Moves money: after `notExecuted` it is converted again."""
        body.check()
        return await answer(partial(hands.resolve, conversion_id, body))

    @router.post("/deposit", operation_id="reportDeposit", response_model=shapes.Conversion)
    async def deposit(conversion_id: ConversionId, body: Annotated[Deposited, _PAID]) -> Any:
        """Report the transaction of a deposit that a person paid."""
        return await answer(partial(hands.deposit, conversion_id, body))

    return router


class _Hands:
    """What the routes do, on their threads. Raises Problem (409) where the conversion is not one that it fits."""

    def __init__(self, ledger: ViewedLedger, reviewing: Reviewing, send: Send) -> None:
        self._ledger = ledger
        self._reviewing = reviewing
        self._send = send

    def cancel(self, conversion_id: str, said: Said) -> dict[str, Any]:
        return self._done(conversion_id, lambda: self._cancelled(conversion_id, said))

    def retry(self, conversion_id: str, said: Said) -> dict[str, Any]:
        return self._done(conversion_id, lambda: self._reviewing.retry(conversion_id, _word(said)))

    def resolve(self, conversion_id: str, said: Resolution) -> dict[str, Any]:
        return self._done(conversion_id, lambda: self._resolved(conversion_id, said))

    def deposit(self, conversion_id: str, paid: Deposited) -> dict[str, Any]:
        return self._done(conversion_id, lambda: self._deposited(conversion_id, paid))

    def _cancelled(self, conversion_id: str, said: Said) -> None:
        self._reviewing.cancel(conversion_id, _word(said))

    def _resolved(self, conversion_id: str, said: Resolution) -> Next | None:
        if said.verdict == "notExecuted":
            return self._reviewing.not_executed(conversion_id, _word(said), said.refund_txid)
        self._reviewing.executed(conversion_id, _word(said), said.txid or "", said.delivered)
        return None

    def _deposited(self, conversion_id: str, paid: Deposited) -> Next:
        report_deposit(self._ledger, conversion_id, paid.txid)
        return Next.SETTLE

    def _done(self, conversion_id: str, act: Callable[[], Next | None]) -> dict[str, Any]:
        try:
            following = act()
        except InvalidRequest as error:
            if error.field not in _OF_THE_CONVERSION:
                raise
            told = Problem(409, "NotPossible", str(error), problem=error.problem, accepted=error.accepted)
            raise told from error
        if following is not None:
            self._send(following, conversion_id)
        return read_conversion(self._ledger, conversion_id)


def _word(said: Said) -> Word:
    return Word(said.by, said.reason)
