"""Guards before and around a send: prepared and committed first, sent once, counted, and read for what it proves."""

from __future__ import annotations

from tests.sabotage.guard import Edit, Guard, one, tests_of

_EXECUTION = "converter/execution.py"
_SENDING = "converter/sending.py"
_SETTLEMENT = "converter/settlement.py"
_CLOSING = "converter/closing.py"
_DEPOSITING = "converter/depositing.py"
_EXECUTE = ("tests/app/test_execution.py",)
_MOMENT = tests_of(*_EXECUTE, "test_nothing_may_be_sent_later_than_the_ledger_says")
_RECONCILE = ("tests/app/test_reconciliation.py",)
_DEPOSIT = ("tests/app/test_deposits.py",)
_CRASH = ("tests/app/test_crashes.py",)

PREPARE = (
    Guard(
        name="an order is prepared and committed before it leaves",
        why="A worker that dies after sending leaves an order that no ledger knows: the next one sends another.",
        edits=(
            Edit(
                _EXECUTION,
                "                    conversion, prepared = self._prepare(work, conversion, attempts, choice)\n",
                "                    conversion, prepared = self._prepare(work, conversion, attempts, choice)\n"
                "                    sent = self._sending.place(conversion, prepared, choice.leave)\n",
            ),
            Edit(
                _EXECUTION,
                "            sent = self._sending.place(conversion, prepared, choice.leave)\n"
                "            if sent.outcome",
                "            if sent.outcome",
            ),
        ),
        tests=tests_of(
            *_CRASH,
            "test_an_attempt_is_in_the_ledger_before_its_order_leaves",
            "test_an_order_that_left_before_its_worker_died_is_not_followed_by_another",
        ),
    ),
    Guard(
        name="a step is prepared and committed before it leaves",
        why="A withdrawal that the ledger does not know is asked for a second time.",
        edits=(
            Edit(
                _SETTLEMENT, "        sent = self._sending.advance(conversion, prepared, replace(order, ref=ref))\n", ""
            ),
            Edit(
                _SETTLEMENT,
                "            ref = order_ref(work, conversion, attempt)\n        ref = replace(",
                "            ref = order_ref(work, conversion, attempt)\n"
                "            sent = self._sending.advance(conversion, prepared, replace(order, ref=ref))\n"
                "        ref = replace(",
            ),
        ),
        tests=tests_of(*_CRASH, "test_a_step_is_in_the_ledger_before_it_leaves"),
    ),
    Guard(
        name="a deposit is signed and stored in the transaction of its operation",
        why="An operation without its transfer can be neither repeated nor looked for.",
        edits=one(
            _DEPOSITING,
            "                sign = partial(self._sign, wallet, payment, coins)\n",
            "            with self._desk.ledger.begin() as work:\n"
            "                sign = partial(self._sign, wallet, payment, coins)\n",
        ),
        tests=tests_of(*_CRASH, "test_a_death_at_any_transaction_neither_doubles_nor_loses"),
        keyword="plain and deposit",
    ),
    Guard(
        name="an attempt is freed together with its conversion",
        why="Freed alone, the conversion has no attempt that anybody could follow, and waits for a person.",
        edits=one(
            _CLOSING,
            "error, refused=refused)\n            return ending.go_on(",
            "error, refused=refused)\n"
            "        with self._desk.ledger.begin() as work:\n            return ending.go_on(",
        ),
        tests=tests_of(*_CRASH, "test_a_death_at_any_transaction_neither_doubles_nor_loses"),
        keyword="vanished and deposit and not step",
    ),
    Guard(
        name="an open attempt is followed and not added to",
        why="Whoever executes a conversion first settles what is open.",
        edits=one(
            _EXECUTION,
            "            if open_attempt is not None:",
            "            if False:",
        ),
        tests=tests_of(*_EXECUTE, "test_an_answer_that_comes_after_the_claim_was_lost_changes_nothing"),
    ),
    Guard(
        name="a quote is not executed after its end",
        why="An expired offer is executed at whatever the price is now.",
        edits=one(
            "converter/choosing.py",
            "        return [quote for quote in quotes if not quote.is_expired(self.now)]",
            "        return quotes",
        ),
        tests=tests_of(
            *_EXECUTE,
            "test_offers_that_expired_before_they_were_attempted_are_asked_for_again",
            "test_an_offer_that_expires_behind_a_refused_one_is_asked_for_again",
        ),
    ),
)

SEND = (
    Guard(
        name="nothing is sent after its moment",
        why="An absence after `send_before` and the quiet time is proof only if nothing leaves later.",
        edits=one(
            _SENDING,
            "        if prepared.send_by.expired:\n            return Sent(",
            "        if False:\n            return Sent(",
        ),
        tests=tests_of(
            *_EXECUTE,
            "test_a_worker_too_slow_to_send_does_not_spin",
            "test_what_could_not_be_sent_in_time_is_not_executed_and_never_sent",
        ),
    ),
    Guard(
        name="the time to send an order begins before the ledger's clock is read",
        why="Begun after a clock that was slow to answer, it would end later than the ledger says.",
        edits=one(
            _SENDING,
            "        send_by, now = self._send_by(quote.service_id), work.clock()\n",
            "        now, send_by = work.clock(), self._send_by(quote.service_id)\n",
        ),
        tests=_MOMENT,
    ),
    Guard(
        name="the time to send a step begins before the ledger's clock is read",
        why="The same of a withdrawal or an approval.",
        edits=(
            Edit(
                _SENDING,
                "        send_by = self._send_by(attempt.service_id)\n"
                "        within = self._desk.services[attempt.service_id].capabilities.send_within\n"
                "        sequence",
                "        within = self._desk.services[attempt.service_id].capabilities.send_within\n        sequence",
            ),
            Edit(
                _SENDING,
                "        return Prepared(attempt, work.attempts.prepare_step(conversion, operation), send_by)",
                "        operation = work.attempts.prepare_step(conversion, operation)\n"
                "        return Prepared(attempt, operation, self._send_by(attempt.service_id))",
            ),
        ),
        tests=_MOMENT,
    ),
    Guard(
        name="the time to send a repeat begins before the ledger's clock is read",
        why="The same of what is sent again.",
        edits=(
            Edit(
                _SENDING,
                "        send_by = self._send_by(attempt.service_id)\n"
                "        within = self._desk.services[attempt.service_id].capabilities.send_within\n"
                "        work.conversions",
                "        within = self._desk.services[attempt.service_id].capabilities.send_within\n"
                "        work.conversions",
            ),
            Edit(
                _SENDING,
                "work.clock() + within)\n        return Prepared(attempt, operation, send_by)",
                "work.clock() + within)\n"
                "        return Prepared(attempt, operation, self._send_by(attempt.service_id))",
            ),
        ),
        tests=_MOMENT,
    ),
    Guard(
        name="every repeat is counted",
        why="Two sends counted as one make a refusal of the second look like proof about both.",
        edits=one(
            _SENDING,
            "operation = work.attempts.count_send(conversion, operation, work.clock() + within)",
            "operation = replace(operation, send_before=work.clock() + within, fence=conversion.fence)",
        ),
        tests=tests_of(
            *_RECONCILE,
            "test_a_repeat_is_counted_before_it_leaves",
            "test_a_repeat_that_is_refused_never_frees_the_attempt",
        ),
    ),
    Guard(
        name="a refusal frees only if the one send was ours",
        why="Another send of the same bytes may have been executed.",
        edits=one(
            _SENDING,
            "first_and_ours = prepared.operation.sends == 1 and prepared.operation.fence == conversion.fence",
            "first_and_ours = True",
        ),
        tests=_RECONCILE,
    ),
    Guard(
        name="what was not sent in time frees only if it was never sent",
        why="A repeat that came too late to be sent says nothing about the send before it.",
        edits=one(
            _SENDING, "Sent(Outcome.NOT_EXECUTED if first_and_ours else Outcome.UNKNOWN)", "Sent(Outcome.NOT_EXECUTED)"
        ),
        tests=tests_of(*_RECONCILE, "test_a_repeat_that_could_not_be_sent_in_time_never_frees_the_attempt"),
    ),
    Guard(
        name="a mismatch proves nothing where money may have moved",
        why="An answer about another amount is no proof that ours was not taken.",
        edits=one(
            _SENDING,
            "isinstance(error, IntegrityMismatch) and not self._moves_money(prepared):",
            "isinstance(error, IntegrityMismatch):",
        ),
        tests=tests_of(*_EXECUTE, "test_an_order_that_is_not_ours_and_may_have_moved_money_is_never_left_behind"),
    ),
    Guard(
        name="a broadcast is never refused",
        why="A stored transaction may reach its chain at any later time, whatever one node says.",
        edits=one(
            _SENDING,
            "return sent if sent.outcome is Outcome.EXECUTED else replace(sent, outcome=Outcome.UNKNOWN)",
            "return sent",
        ),
        tests=tests_of(*_DEPOSIT, "test_a_broadcast_that_is_refused_is_never_a_reason_to_fail_over"),
    ),
    Guard(
        name="an error that is not listed proves nothing",
        why="What nobody foresaw is an unknown outcome.",
        edits=one(
            "converter/domain/errors.py",
            "UNLISTED = Policy(Outcome.UNKNOWN,",
            "UNLISTED = Policy(Outcome.NOT_EXECUTED,",
        ),
        tests=("tests/domain/test_errors.py", *_EXECUTE),
    ),
    Guard(
        name="a lost answer proves nothing",
        why="The service may have executed it before the answer was lost.",
        edits=one(
            "converter/domain/errors.py",
            "OutcomeUnknown: Policy(Outcome.UNKNOWN,",
            "OutcomeUnknown: Policy(Outcome.NOT_EXECUTED,",
        ),
        tests=(*_EXECUTE, *_RECONCILE),
    ),
    Guard(
        name="a refusal is kept as proof when the claim is lost",
        why="Whoever owns the conversion by then cannot find out, and it waits for a person.",
        edits=one(_SETTLEMENT, "                self._sending.keep_proof(prepared, error)\n", ""),
        tests=tests_of(
            "tests/app/test_two_legs.py", "test_a_refusal_that_comes_after_the_claim_was_lost_is_kept_as_proof"
        ),
    ),
)

GUARDS = (*PREPARE, *SEND)
