"""Guards in the ledger: indexes, fences, leases, compare-and-set, whole transactions, exact amounts."""

from __future__ import annotations

from tests.sabotage.guard import Edit, Guard, one, tests_of

_TABLES = "converter/ledger/tables.py"
_FIRST = "converter/ledger/migrations/versions/0001_first.py"
_SECOND = "converter/ledger/migrations/versions/0002_refunds_and_counters.py"
_ATTEMPTS = "converter/ledger/attempts.py"
_CONVERSIONS = "converter/ledger/conversions.py"

_DATABASES = "tests/ledger/test_databases.py"
_KEPT = ("tests/ledger/test_attempts.py",)
_CLAIMS = ("tests/ledger/test_claims.py",)

INDEXES = (
    Guard(
        name="one open attempt per conversion",
        why="Two open attempts are two payouts; whatever the code believes, the database bars the second.",
        edits=(
            Edit(
                _TABLES,
                'sa.Index("one_open_attempt", "conversion_id", unique=True,',
                'sa.Index("one_open_attempt", "conversion_id", unique=False,',
            ),
            Edit(
                _FIRST,
                '"attempts",\n        ["conversion_id"],\n        unique=True,',
                '"attempts",\n        ["conversion_id"],\n        unique=False,',
            ),
        ),
        tests=_KEPT,
    ),
    Guard(
        name="one open operation per step",
        why="A look-up that lags must not lead to a second withdrawal: a step is open or executed once.",
        edits=(
            Edit(_TABLES, '"attempt_id",\n        "kind",\n        unique=True,', '"attempt_id",\n        "kind",'),
            Edit(
                _FIRST,
                '["attempt_id", "kind"],\n        unique=True,',
                '["attempt_id", "kind"],\n        unique=False,',
            ),
        ),
        tests=_KEPT,
    ),
    Guard(
        name="one transfer per nonce",
        why="Two payments with one nonce replace each other, and the conversion of the lost one is never paid.",
        edits=(
            Edit(_TABLES, '    sa.UniqueConstraint("chain", "account", "nonce", name="one_transfer_per_nonce"),\n', ""),
            Edit(
                _FIRST, '        sa.UniqueConstraint("chain", "account", "nonce", name="one_transfer_per_nonce"),\n', ""
            ),
        ),
        tests=("tests/ledger/test_transfers.py",),
    ),
    Guard(
        name="nonces are counted by the ledger",
        why="A chain's own count lags behind what was stored: the next payment would take a nonce that is given away.",
        edits=one(
            "converter/ledger/transfers.py",
            "sign(floor if highest is None else max(floor, highest + 1))",
            "sign(floor)",
        ),
        tests=("tests/ledger/test_transfers.py",),
    ),
    Guard(
        name="one operation per transaction",
        why="A transaction that pays for two orders leaves one of them unpaid.",
        edits=(
            Edit(_TABLES, '    sa.UniqueConstraint("chain", "txid", name="one_operation_per_transaction"),\n', ""),
            Edit(_FIRST, '        sa.UniqueConstraint("chain", "txid", name="one_operation_per_transaction"),\n', ""),
        ),
        tests=("tests/ledger/test_transfers.py",),
    ),
    Guard(
        name="one attempt per refund",
        why="A deposit that came back once frees one conversion; counted twice, somebody is paid from nothing.",
        edits=(
            Edit(
                _TABLES,
                'sa.Index("one_attempt_per_refund", "refund_txid", unique=True)',
                'sa.Index("one_attempt_per_refund", "refund_txid")',
            ),
            Edit(_SECOND, '["refund_txid"], unique=True)', '["refund_txid"], unique=False)'),
        ),
        tests=("tests/ledger/test_attempts.py",),
    ),
    Guard(
        name="an idempotency key is stored once",
        why="Two requests with one key at the same moment are one conversion, also where transactions overlap.",
        edits=(
            Edit(_TABLES, 'sa.Column("key", sa.String(200), primary_key=True)', 'sa.Column("key", sa.String(200))'),
            Edit(_FIRST, '        sa.PrimaryKeyConstraint("key"),\n', ""),
        ),
        tests=("tests/ledger/test_requests_once.py",),
        keyword="at_once",
    ),
    Guard(
        name="an idempotency key belongs to its content",
        why="Another amount under a known key is a caller's mistake, and must not be answered with a foreign payout.",
        edits=one(_CONVERSIONS, "if row.content_hash != request.content_hash():", "if False:"),
        tests=("tests/ledger/test_requests_once.py",),
    ),
)

CLAIMS = (
    Guard(
        name="a claim only of what is free",
        why="Two owners at once send twice.",
        edits=one(_CONVERSIONS, "sa.or_(table.lease_until.is_(None), table.lease_until < now),", "sa.true(),"),
        tests=(*_CLAIMS, "tests/app/test_execution.py"),
    ),
    Guard(
        name="a claim only in the states that were asked for",
        why="A task that comes late finds a conversion that has gone on, and must leave it alone.",
        edits=one(_CONVERSIONS, "                table.state.in_(states),\n", ""),
        tests=_CLAIMS,
    ),
    Guard(
        name="the fence grows with every claim",
        why="Without it an owner of yesterday cannot be told from the owner of now.",
        edits=one(_CONVERSIONS, "fence=table.fence + 1,", "fence=table.fence,"),
        tests=_CLAIMS,
    ),
    Guard(
        name="the fence when a conversion moves",
        why="An owner that lost its claim must not move what another one has taken further.",
        edits=one(
            _CONVERSIONS,
            "table.fence == conversion.fence, table.state == conversion.state)",
            "table.state == conversion.state)",
        ),
        tests=_CLAIMS,
    ),
    Guard(
        name="the state that was seen when a conversion moves",
        why="A decision that was made on an older state is not written over a newer one.",
        edits=one(
            _CONVERSIONS,
            "table.fence == conversion.fence, table.state == conversion.state)",
            "table.fence == conversion.fence)",
        ),
        tests=_CLAIMS,
    ),
    Guard(
        name="the lease must hold to be prolonged",
        why="A lease that ran out may be another owner's already; prolonging it would make two.",
        edits=one(
            _CONVERSIONS,
            "table.fence == conversion.fence, table.lease_until > now)",
            "table.fence == conversion.fence)",
        ),
        tests=_CLAIMS,
    ),
    Guard(
        name="the fence when a lease is prolonged",
        why="The lease of the new owner is not the old one's to prolong.",
        edits=one(
            _CONVERSIONS, "table.fence == conversion.fence, table.lease_until > now)", "table.lease_until > now)"
        ),
        tests=_CLAIMS,
    ),
    Guard(
        name="only the moves of the tables",
        why="Terminal never changes, and nothing fails while money may be under way.",
        edits=one("converter/domain/conversions.py", "    if to_state not in allowed:", "    if False:"),
        tests=("tests/domain/test_conversions.py", *_CLAIMS, *_KEPT),
    ),
)

WRITES = (
    Guard(
        name="the fence at every write of an attempt",
        why="Whoever lost the claim neither prepares, counts, records nor moves.",
        edits=one(
            _ATTEMPTS,
            "ours = sa.and_(table.id == conversion.id, table.fence == conversion.fence)",
            "ours = sa.and_(table.id == conversion.id)",
        ),
        tests=(*_KEPT, "tests/app/test_execution.py"),
    ),
    Guard(
        name="a lease for whatever will be sent",
        why="What is prepared under a lapsed lease leaves while another owner works on the same conversion.",
        edits=one(_ATTEMPTS, "ours = sa.and_(ours, table.lease_until > self._now())", "ours = sa.and_(ours)"),
        tests=_KEPT,
    ),
    Guard(
        name="a record and a claim wait for each other",
        why="On PostgreSQL a row that is only read lets another owner claim it while we record under the old fence.",
        edits=one(
            _ATTEMPTS,
            "held = self._connection.execute(sa.update(conversions).where(ours).values(updated_at=self._now()))\n"
            "        if held.rowcount != 1:",
            "held = self._connection.execute(sa.select(conversions.c.id).where(ours)).all()\n"
            "        if len(held) != 1:",
        ),
        tests=tests_of(_DATABASES, "test_a_claim_waits_for_the_record_that_is_being_written"),
        keyword="",
    ),
    Guard(
        name="an outcome is recorded once",
        why="The first proof stands: a later answer must not turn executed into not executed.",
        edits=one(
            _ATTEMPTS,
            "known = [row.id == operation.id, row.state == OperationState.PREPARED]",
            "known = [row.id == operation.id]",
        ),
        tests=_KEPT,
    ),
    Guard(
        name="absences are in a row",
        why="An order that somebody saw meanwhile was executed, however often a replica denies it.",
        edits=one(
            _ATTEMPTS,
            "            known.append(row.absences == operation.absences)",
            "            known.append(row.absences >= 0)",
        ),
        tests=("tests/ledger/test_attempts.py", "tests/app/test_reconciliation.py"),
    ),
    Guard(
        name="nothing is sent again once its outcome is known",
        why="Whoever repeats an operation must not do so behind the back of the one who proved it.",
        edits=one(
            _ATTEMPTS,
            ".where(operations.c.id == operation.id, operations.c.state == OperationState.PREPARED)\n"
            "            .values(sends=",
            ".where(operations.c.id == operation.id)\n            .values(sends=",
        ),
        tests=_KEPT,
    ),
    Guard(
        name="sends are counted in the ledger",
        why="A refusal of the second send says nothing about the first: whoever reads it must see that there were two.",
        edits=one(_ATTEMPTS, "values(sends=operations.c.sends + 1,", "values(sends=operations.c.sends,"),
        tests=(*_KEPT, "tests/app/test_reconciliation.py"),
    ),
    Guard(
        name="unsent only if it was sent once",
        why="A late refusal of one send must not be kept as proof when somebody has sent the same again.",
        edits=one(
            _ATTEMPTS, "row.state == OperationState.PREPARED, row.sends == 1)", "row.state == OperationState.PREPARED)"
        ),
        tests=_KEPT,
    ),
    Guard(
        name="unsent only by the one who sent",
        why="Only the owner of the one send knows that it was refused.",
        edits=one(
            _ATTEMPTS,
            "(operations.c.id == operation.id, operations.c.fence == operation.fence)",
            "(operations.c.id == operation.id,)",
        ),
        tests=_KEPT,
    ),
    Guard(
        name="the state that was seen when an attempt moves",
        why="An attempt that was executed meanwhile is not freed on an older look.",
        edits=one(
            _ATTEMPTS,
            ".where(attempts.c.id == attempt.id, attempts.c.state == attempt.state)",
            ".where(attempts.c.id == attempt.id)",
        ),
        tests=_KEPT,
    ),
)

WHOLE = (
    Guard(
        name="a transaction that breaks off leaves nothing",
        why="Half of a preparation is an attempt that nobody can settle.",
        edits=one(
            "converter/ledger/repository.py",
            "        with self.engine.begin() as connection:\n            work = SqlWork(connection, self._clock)\n"
            "            yield work\n            work.outbox.flush()\n",
            "        with self.engine.connect() as connection:\n            work = SqlWork(connection, self._clock)\n"
            "            try:\n                yield work\n            finally:\n"
            "                work.outbox.flush()\n                connection.commit()\n",
        ),
        tests=(*tests_of(*_KEPT, "test_an_exception_after_a_write_leaves_nothing"), "tests/ledger/test_outbox.py"),
    ),
    Guard(
        name="an attempt and its order operation in one",
        why="An attempt without its operation may have been sent, and nothing says when or under which key.",
        edits=one(
            _ATTEMPTS,
            "        return stored, self._insert(replace(operation, attempt_id=stored.id))",
            '        self._connection.exec_driver_sql("COMMIT")\n'
            '        self._connection.exec_driver_sql("BEGIN IMMEDIATE")\n'
            "        return stored, self._insert(replace(operation, attempt_id=stored.id))",
        ),
        tests=_KEPT,
    ),
    Guard(
        name="what is committed is on the disk",
        why="A power cut must not take back a preparation whose order has left.",
        edits=one("converter/ledger/repository.py", '"synchronous=FULL"', '"synchronous=OFF"'),
        tests=tests_of(_DATABASES, "test_every_connection_is_set_up_for_money"),
    ),
    Guard(
        name="a transaction is alone from its beginning",
        why="Two that read first and write later would decide on the same state.",
        edits=one("converter/ledger/repository.py", '"BEGIN" if reading else "BEGIN IMMEDIATE"', '"BEGIN"'),
        tests=tests_of(_DATABASES, "test_a_transaction_takes_the_write_lock_at_its_beginning"),
    ),
    Guard(
        name="amounts are exact in the ledger",
        why="A float changes the last digits of an amount, and then it is not the one that was asked for.",
        edits=one(
            _TABLES,
            "            return value\n        return plain(value)",
            "            return value\n        return repr(float(value))",
        ),
        tests=("tests/ledger/test_stored_values.py",),
    ),
)

GUARDS = (*INDEXES, *CLAIMS, *WRITES, *WHOLE)
