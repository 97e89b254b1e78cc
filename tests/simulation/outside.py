"""What lies between a worker and the outside: requests that arrive late, unanswered or never; and the chain.

What a request does is done when it arrives, whether its sender is still waiting, paused or dead. An answer says what
was so when it was made, however late it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from converter.domain.coins import Asset
from converter.domain.errors import (
    AuthenticationFailed,
    IntegrityMismatch,
    MalformedResponse,
    OutcomeUnknown,
    RateLimited,
    ServiceError,
    ServiceRejected,
    ServiceUnavailable,
)
from converter.domain.orders import OperationKind, Refund
from converter.domain.transfers import Payment, Sighting, Transfer
from converter.ports import Deadline
from tests.simulation.profiles import DEPOSIT, Profile
from tests.simulation.schedule import MICRO

if TYPE_CHECKING:
    from tests.simulation.services import Booked, SimService
    from tests.simulation.world import World

T = TypeVar("T")

_READ_TIMEOUT = 15


class Outside:
    """Somebody whom workers call over a network."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.id = name
        self.scheduler = world.scheduler
        self.random = world.chance.random

    @property
    def faults(self) -> Profile:
        return self.world.faults

    def read(self, what: str, failing: float, answer: Callable[[], T]) -> T:
        """A call that changes nothing."""
        world, scheduler = self.world, self.scheduler
        world.breathe(what)
        scheduler.rest(scheduler.now + 5_000 + int(self.random() * 150_000))
        if failing and self.random() < failing:
            world.breathe(f"{what} fails")
            raise (ServiceUnavailable if self.random() < 0.8 else MalformedResponse)(self.id, what)
        told = answer()
        world.breathe(f"{what} answered")
        return told

    def send(self, kind: OperationKind, key: str, deadline: Deadline, work: Callable[[int], T]) -> T:
        """A request that may change something: `work` is told the latest moment at which it was to arrive."""
        world, faults, latest = self.world, self.faults, int(deadline.at * MICRO)
        world.breathe(f"{kind} is sent")
        drawn = self.random()
        if drawn < faults.refused / 2:
            world.note(key, f"{self.id} {kind} {key}: nothing left us")
            raise ServiceUnavailable(self.id, kind, detail="connection refused")
        if drawn < faults.refused:
            return self._deliver(kind, key, lambda: self._refuse(kind))
        if drawn < faults.refused + faults.unknown:
            return self._in_doubt(kind, key, lambda: work(latest))
        return self._deliver(kind, key, lambda: work(latest))

    def _deliver(self, kind: OperationKind, key: str, work: Callable[[], T]) -> T:
        """It arrives, and the answer comes back, even to a worker that was paused meanwhile."""
        scheduler, answers = self.scheduler, _Answers(self, key)
        arrives = scheduler.now + 3_000 + int(self.random() * 120_000)
        scheduler.at(arrives, lambda: answers.make(work))
        self.world.breathe(f"{kind} is under way")
        scheduler.rest(max(scheduler.now, arrives + 3_000 + int(self.random() * 120_000)))
        self.world.breathe(f"{kind} is answered")
        return answers.read()

    def _refuse(self, kind: OperationKind) -> Any:
        drawn = self.random()
        if drawn < 0.1:
            raise RateLimited(self.id, kind, retry_after=1)
        raise (ServiceRejected if drawn < 0.9 else AuthenticationFailed)(self.id, kind)

    def _in_doubt(self, kind: OperationKind, key: str, work: Callable[[], T]) -> T:
        """Its sender cannot know: executed at once, later, or never."""
        scheduler, faults, drawn = self.scheduler, self.faults, self.random()
        now = scheduler.now
        if drawn < 0.5:
            longest = faults.very_late if drawn < 0.05 else faults.late
            late = 0.0 if drawn < 0.2 else self.random() * longest
            answers = _Answers(self, key)
            scheduler.at(now + 3_000 + int(late * MICRO), lambda: answers.make(work))
            self.world.note(key, f"{self.id} {kind} {key}: will arrive {late:.1f} s late, unanswered")
        else:
            self.world.note(key, f"{self.id} {kind} {key}: is lost on its way")
        waits = _READ_TIMEOUT if self.random() < 0.3 else self.random()
        self.world.breathe(f"{kind} is under way")
        scheduler.rest(max(scheduler.now, now + int(waits * MICRO)))
        self.world.breathe(f"{kind} is not answered")
        if self.random() < 0.1:
            raise IntegrityMismatch(self.id, kind, detail="the answer speaks of another amount")
        raise OutcomeUnknown(self.id, kind, detail="no answer")


class _Answers:
    """The answer to one request, once it is there."""

    def __init__(self, party: Outside, key: str) -> None:
        self._party = party
        self._key = key
        self._answer: Any = None
        self._error: ServiceError | None = None

    def make(self, work: Callable[[], Any]) -> None:
        """The request arrives."""
        try:
            self._answer = work()
        except ServiceError as error:
            self._error = error
            self._party.world.note(self._key, f"{error}")

    def read(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._answer


# --- The chain -------------------------------------------------------------------------------------------------------


class SimWallet(Outside):
    """Our account on a chain that mines one transaction for each nonce, in the order of the nonces."""

    pays_itself = True

    def __init__(self, world: World) -> None:
        super().__init__(world, "wallet")
        self.pool: dict[int, Transfer] = {}
        self.mined: dict[int, Transfer] = {}
        self.watched: dict[str, tuple[SimService, Booked]] = {}
        """Deposit addresses."""
        self.clashes: list[str] = []
        """Nonces that two different transactions carried."""
        self._refunds: dict[str, tuple[int, Decimal]] = {}

    def new_address(self) -> str:
        return _base58check(0x1E, self.world.chance.randbytes(20))

    def holds(self, asset: Asset) -> bool:
        return True

    def account(self, deadline: Deadline) -> tuple[str, str, int]:
        return self.read("account", self.faults.failed_reads / 5, lambda: ("chain", "pool", len(self.mined)))

    def prepare(self, payment: Payment, deadline: Deadline) -> str:
        return self.read("prepare", self.faults.failed_reads / 5, lambda: "coins")

    def sign(self, payment: Payment, nonce: int, prepared: Any) -> Transfer:
        raw = f"{nonce}|{payment.address}|{payment.amount}"
        txid = hashlib.sha256(raw.encode()).hexdigest()
        return Transfer("chain", "pool", nonce, raw, txid, payment.address, payment.amount)

    def release(self, prepared: Any, deadline: Deadline) -> None:
        self.world.breathe("release")

    def broadcast(self, transfer: Transfer, deadline: Deadline) -> None:
        _, booked = self.watched[transfer.address]
        self.send(DEPOSIT, booked.request.key, deadline, lambda latest: self._arrives(transfer))

    def _arrives(self, transfer: Transfer) -> None:
        """A node has it. It may drop it again before it is mined."""
        known = self.mined.get(transfer.nonce) or self.pool.get(transfer.nonce)
        if known is None:
            self.pool[transfer.nonce] = transfer
            self.scheduler.at(self.scheduler.now + int((2 + self.random() * 13) * MICRO), self._mine)
        elif known != transfer:
            self.clashes.append(f"nonce {transfer.nonce}: {known.txid[:8]} and {transfer.txid[:8]}")

    def _mine(self) -> None:
        while (nonce := len(self.mined)) in self.pool:
            transfer = self.pool.pop(nonce)
            if self.faults.unknown and self.random() < self.faults.unknown / 10:
                return  # forgotten; whoever watches it broadcasts it again
            self.mined[nonce] = transfer
            service, booked = self.watched[transfer.address]
            service.deposit_arrives(booked, transfer.txid)

    def observe(self, transfer: Transfer, deadline: Deadline) -> Sighting:
        return self.read("observe", self.faults.failed_reads, lambda: self._sighting(transfer))

    def _sighting(self, transfer: Transfer) -> Sighting:
        if self.faults.failed_reads and self.random() < 0.05:
            return Sighting.UNKNOWN  # a node that lags behind
        mined = self.mined.get(transfer.nonce)
        if mined is not None:
            return Sighting.CONFIRMED if mined.txid == transfer.txid else Sighting.REPLACED
        return Sighting.PENDING if self.pool.get(transfer.nonce) == transfer else Sighting.UNKNOWN

    def sent_back(self, amount: Decimal) -> Refund:
        """A service returns a deposit: confirmed in a minute or so."""
        txid = hashlib.sha256(self.world.chance.randbytes(8)).hexdigest()
        arrives = self.scheduler.now + int((5 + self.random() * 90) * MICRO)
        returned = (amount * Decimal("0.99")).quantize(amount)
        self._refunds[txid] = (arrives, returned)
        return Refund("pool", returned, txid)

    def received(self, asset: Asset, refund: Refund, deadline: Deadline) -> Decimal | None:
        return self.read("received", self.faults.failed_reads, lambda: self._received(refund.txid))

    def _received(self, txid: str) -> Decimal | None:
        arrives, amount = self._refunds[txid]
        return amount if self.scheduler.now >= arrives else None


_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def _base58check(version: int, payload: bytes) -> str:
    body = bytes([version]) + payload
    number = int.from_bytes(body + hashlib.sha256(hashlib.sha256(body).digest()).digest()[:4])
    text = ""
    while number:
        number, digit = divmod(number, 58)
        text = _BASE58[digit] + text
    return text
