"""Guards around the money rule: the books that say where coins are, the audit, and what a person may say."""

from __future__ import annotations

from tests.sabotage.guard import Guard, one

_MIGRATION = "converter/ledger/migrations/versions/0004_books.py"
_ENDING = "converter/ending.py"
_REVIEWING = "converter/reviewing.py"
_BOOKS = ("tests/app/test_books.py",)
_REVIEW = ("tests/app/test_reviewing.py",)

BOOKS = (
    Guard(
        name="the database bars every change of the books",
        why="Books that can be changed prove nothing.",
        edits=one(_MIGRATION, "BEFORE {verb} ON postings", "BEFORE {verb} ON counters"),
        tests=("tests/ledger/test_books.py",),
    ),
    Guard(
        name="an attempt is posted with its preparation",
        why="Coins that may be out would still be the pool's by the books.",
        edits=one("converter/sending.py", "        work.books.post(postings.opened(conversion, attempt))\n", ""),
        tests=_BOOKS,
    ),
    Guard(
        name="what came of an attempt is posted with its end",
        why="Coins that came back, or were converted, would be on their way for ever.",
        edits=one(
            _ENDING,
            "    work.books.post(postings.returned(conversion, attempt, work.books.of(attempt.id)))\n",
            "",
        ),
        tests=_BOOKS,
    ),
    Guard(
        name="a transaction of the books exists once",
        why="Posted twice, the books say that the coins left twice.",
        edits=one(_MIGRATION, 'sa.UniqueConstraint("key", "line", name="posting_once"),', ""),
        tests=("tests/ledger/test_books.py",),
    ),
    Guard(
        name="the audit knows coins that are nowhere",
        why="A forgotten posting would be found by nobody.",
        edits=one("converter/ledger/inspection.py", "            if held != expected:", "            if False:"),
        tests=("tests/app/test_auditing.py", "tests/ledger/test_inspection.py"),
    ),
    Guard(
        name="two payments on the services' lists are a double",
        why="What a service itself says it paid twice is the one thing that must not go unnoticed.",
        edits=one("converter/comparing.py", "        if len(payments) > 1:", "        if len(payments) > 2:"),
        tests=("tests/app/test_comparing.py",),
    ),
)

PERSON = (
    Guard(
        name="no word against a payment that can be mined",
        why="A person who says not executed while our signed payment is out pays it twice.",
        edits=one(
            _REVIEWING,
            "if paid is not None and paid.raw and answer.sighting not in _NEVER_MINED:",
            "if False:",
        ),
        tests=_REVIEW,
    ),
    Guard(
        name="no word against an order that the service shows",
        why="A person who says not executed while the service has the order pays it twice.",
        edits=one(_REVIEWING, "if order is None or order.status not in speaking:", "if True:"),
        tests=_REVIEW,
    ),
    Guard(
        name="a person is one more owner",
        why="A worker that woke up would change what a person has said.",
        edits=one(
            _REVIEWING,
            "            claimed = work.conversions.claim(conversion_id, self._desk.owner, lease, states)",
            "            claimed = found if found.state in states and lease else None",
        ),
        tests=_REVIEW,
    ),
    Guard(
        name="nothing is cancelled while an attempt is open",
        why="A cancelled conversion whose order is out is paid and not completed.",
        edits=one(
            _REVIEWING,
            "is_open = any(one.is_open for one in work.attempts.of(claimed.id))",
            "is_open = False",
        ),
        tests=_REVIEW,
    ),
    Guard(
        name="cancelled is proof only of what was never approved",
        why="A payout that was approved and then cancelled may have been paid.",
        edits=one(
            "converter/services/btcpay_lightning_payouts.py",
            "untouched=status is OrderStatus.REJECTED and paid is None,",
            "untouched=status is OrderStatus.REJECTED,",
        ),
        tests=("tests/services/test_btcpay_lightning.py",),
        keyword="cancelled_payout_was_never_approved",
    ),
)

GUARDS = (*BOOKS, *PERSON)
