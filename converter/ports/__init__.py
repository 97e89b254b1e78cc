"""What the use-cases need of the outside, as Protocols: the world, the ledger, and what processes share."""

from __future__ import annotations

from converter.ports.books import Books, Inspection
from converter.ports.ledger import (
    Attempts,
    Conditions,
    Conversions,
    Counter,
    Exposure,
    Ledger,
    Memory,
    Quotes,
    Rounds,
    Transfers,
    Work,
)
from converter.ports.outgoing import Alerts, Deliveries, Followers, Outbox, Receivers
from converter.ports.outside import Carrier, Clock, ConversionService, Deadline, KeyStore, PayoutList, Wallet
from converter.ports.shared import Adaptive, Breaker, RateLimiter, RateMemory, Turns
from converter.ports.views import Failover, JudgedRow, ViewedLedger, Views

__all__ = [
    "Adaptive",
    "Alerts",
    "Attempts",
    "Books",
    "Breaker",
    "Carrier",
    "Clock",
    "Conditions",
    "ConversionService",
    "Conversions",
    "Counter",
    "Deadline",
    "Deliveries",
    "Exposure",
    "Failover",
    "Followers",
    "Inspection",
    "JudgedRow",
    "KeyStore",
    "Ledger",
    "Memory",
    "Outbox",
    "PayoutList",
    "Quotes",
    "RateLimiter",
    "RateMemory",
    "Receivers",
    "Rounds",
    "Transfers",
    "Turns",
    "ViewedLedger",
    "Views",
    "Wallet",
    "Work",
]
