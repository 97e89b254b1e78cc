"""Guards after a send: what counts as proof, what never frees a conversion, and what is paid as a deposit."""

from __future__ import annotations

from tests.sabotage.guard import Edit, Guard, one, tests_of

_SETTLEMENT = "converter/settlement.py"
_RECONCILIATION = "converter/reconciliation.py"
_CLOSING = "converter/closing.py"
_DEPOSITING = "converter/depositing.py"
_REFUNDING = "converter/refunding.py"
_RECONCILE = ("tests/app/test_reconciliation.py",)
_DEPOSIT = ("tests/app/test_deposits.py",)
_REFUND = ("tests/app/test_refunds.py",)
_BOUND = ("tests/app/test_two_legs.py", "tests/app/test_settling.py")

PROVE = (
    Guard(
        name="the quiet time before an absence counts",
        why="A service shows what it took a little later: absent now may be executed in a moment.",
        edits=one(
            _RECONCILIATION,
            "rest = operation.send_before + rule.quiet - asked_at",
            "rest = operation.send_before - asked_at",
        ),
        tests=_RECONCILE,
    ),
    Guard(
        name="the clock is read before the service is asked",
        why="A pause between the answer and the clock makes an old absence look like proof.",
        edits=(
            Edit(_RECONCILIATION, "        asked_at = self._desk.ledger.now()\n", ""),
            Edit(
                _RECONCILIATION,
                "_absent(rule, operation, asked_at, order)",
                "_absent(rule, operation, self._desk.ledger.now(), order)",
            ),
        ),
        tests=tests_of(*_RECONCILE, "test_the_clock_is_read_before_the_service_is_asked"),
    ),
    Guard(
        name="as many absences as the service declares",
        why="One look at a replica that lags is not proof.",
        edits=one(_RECONCILIATION, "if absences >= rule.absences:", "if absences >= 1:"),
        tests=_RECONCILE,
    ),
    Guard(
        name="an absence proves nothing where the service takes late requests",
        why="Without a bound on late arrival, the request may still be on its way.",
        edits=one(
            _RECONCILIATION,
            'return Finding(Outcome.UNKNOWN, order, error="the service does not know it; that proves nothing")',
            'return Finding(Outcome.NOT_EXECUTED, order, error="the service does not know it")',
        ),
        tests=tests_of(*_RECONCILE, "test_what_nothing_can_prove_goes_to_a_person_sooner"),
    ),
    Guard(
        name="a look that fails proves nothing",
        why="A service that does not answer has not said that it took nothing.",
        edits=one(
            _RECONCILIATION,
            "return Finding(Outcome.UNKNOWN, error=str(error), absences=operation.absences, asked=asked)",
            "return Finding(Outcome.NOT_EXECUTED, error=str(error), asked=asked)",
        ),
        tests=_RECONCILE,
    ),
    Guard(
        name="a transfer that its chain does not know is not given up",
        why="A node forgets, and the transaction is mined from another one.",
        edits=one(
            _RECONCILIATION,
            "return Finding(Outcome.UNKNOWN, repeat=wallet.pays_itself,",
            "return Finding(Outcome.NOT_EXECUTED, repeat=wallet.pays_itself,",
        ),
        tests=_DEPOSIT,
    ),
    Guard(
        name="an unknown is never aged into failed",
        why="Time proves nothing: what stays unknown goes to a person with the evidence.",
        edits=one(
            _CLOSING,
            'return self.park(conversion, f"unknown for too long: {finding.error}")',
            'return self.free(conversion, prepared.attempt, f"unknown for too long: {finding.error}")',
        ),
        tests=_RECONCILE,
    ),
    Guard(
        name="an order that is not seen for long is never freed",
        why="It was accepted once, and may be paid out at any time.",
        edits=one(
            _CLOSING,
            "followed_for > self._desk.timing.park:\n            return self.park(conversion, reason)",
            "followed_for > self._desk.timing.park:\n            with self._desk.ledger.begin() as work:\n"
            "                attempt = work.attempts.of(conversion.id)[-1]\n"
            "            return self.free(conversion, attempt, reason)",
        ),
        tests=tests_of(*_RECONCILE, "test_an_order_that_its_service_stops_showing_comes_before_a_person"),
    ),
    Guard(
        name="nothing is sent for a parked conversion",
        why="A person may be paying it by hand at this moment.",
        edits=one(
            _SETTLEMENT,
            "        if conversion.state is State.NEEDS_REVIEW:\n            return self._look_again(",
            "        if False:\n            return self._look_again(",
        ),
        tests=_RECONCILE,
    ),
)

BOUND = (
    Guard(
        name="a refused step behind a trade never frees",
        why="The coin is traded and lies at this service: another one would spend the original coin a second time.",
        edits=one(
            _SETTLEMENT,
            "        if operation.kind not in BOUND_STEPS:\n            return self._closing.free(",
            "        if operation.kind:\n            return self._closing.free(",
        ),
        tests=_BOUND,
    ),
    Guard(
        name="a step behind a trade that is proven not executed never frees",
        why="The same, for an owner that finds the proof of another one in the ledger.",
        edits=one(
            _SETTLEMENT,
            "operation.state is OperationState.NOT_EXECUTED and operation.kind not in BOUND_STEPS:",
            "operation.state is OperationState.NOT_EXECUTED:",
        ),
        tests=_BOUND,
    ),
    Guard(
        name="an order that is closed behind a trade is not believed",
        why="Rejected is a word about the second step; the first one was executed.",
        edits=one(
            _SETTLEMENT,
            "        if operation.kind in BOUND_STEPS:\n            return True",
            "        if False:\n            return True",
        ),
        tests=tests_of(
            "tests/app/test_two_legs.py",
            "test_a_service_that_calls_the_whole_order_rejected_behind_the_first_trade_is_not_believed",
        ),
    ),
    Guard(
        name="an order that is closed after our deposit does not free",
        why="The service has our money, whatever it calls the order.",
        edits=one(
            _SETTLEMENT,
            "        if any(self._may_have_moved(attempt, one) for one in operations):",
            "        if False:",
        ),
        tests=tests_of(*_DEPOSIT, "test_an_order_that_ended_after_our_deposit_goes_to_a_person"),
    ),
    Guard(
        name="a step that was taken is not taken again on a lagging look-up",
        why="The service's list may be older than its answer to our withdrawal.",
        edits=one(_SETTLEMENT, "        if step is None or self._is_taken(attempt, step):", "        if step is None:"),
        tests=tests_of(
            "tests/app/test_settling.py", "test_a_look_up_that_lags_behind_a_withdrawal_costs_nobody_the_claim"
        ),
    ),
    Guard(
        name="an order that expired while a person may have paid does not free",
        why="Nobody has said whether the deposit is on its way.",
        edits=one(
            _SETTLEMENT,
            'return self._closing.park(conversion, "the order expired, and nobody said whether the deposit was paid")',
            'return self._closing.free(conversion, prepared.attempt, "the order expired")',
        ),
        tests=tests_of(*_DEPOSIT, "test_an_order_that_expired_while_a_person_might_have_paid_goes_to_a_person"),
    ),
    Guard(
        name="an operation in doubt whose order was closed goes to a person",
        why="Closed at once or closed after our approval: the word does not say.",
        edits=one(
            _SETTLEMENT,
            "            return self._closing.park(conversion, finding.error)\n        if finding.repeat",
            "            return self._closing.free(conversion, prepared.attempt, finding.error)\n"
            "        if finding.repeat",
        ),
        tests=tests_of(*_RECONCILE, "test_an_approval_in_doubt_whose_order_was_closed_goes_to_a_person"),
    ),
)

DEPOSITS = (
    Guard(
        name="a deposit of exactly our amount",
        why="A service that asks for more is paid with somebody else's coins.",
        edits=one(
            _DEPOSITING,
            "if deposit.amount != floor_unit(conversion.request.amount, decimals):",
            "if False:",
        ),
        tests=_DEPOSIT,
    ),
    Guard(
        name="a deposit address that does not change",
        why="A second address for the same order is a mistake or a theft.",
        edits=one(
            _DEPOSITING,
            "if attempt.deposit_address and (deposit.address, deposit.memo) != (",
            "if False and (deposit.address, deposit.memo) != (",
        ),
        tests=tests_of(*_DEPOSIT, "test_a_deposit_that_changes_after_it_was_named_is_not_paid"),
    ),
    Guard(
        name="a deposit address of the coin",
        why="What is sent to an address of another coin is gone.",
        edits=one(
            _DEPOSITING, '            check_address(asset, deposit.address, "deposit address")', "            pass"
        ),
        tests=tests_of(*_DEPOSIT, "test_a_deposit_that_is_not_ours_is_not_paid"),
    ),
    Guard(
        name="a deposit only in time for its order",
        why="A deposit that comes after the order's end is kept by the service until a person asks for it.",
        edits=one(
            _DEPOSITING,
            "if deposit.valid_until is not None and self._desk.ledger.now() + _IN_TIME >= deposit.valid_until:",
            "if False:",
        ),
        tests=tests_of(*_REFUND, "test_a_deposit_that_would_come_too_late_is_not_sent"),
    ),
    Guard(
        name="a refund is counted once",
        why="One transaction brings back the deposit of one conversion.",
        edits=one(_REFUNDING, "        if booked is not None:", "        if False:"),
        tests=tests_of(*_REFUND, "test_one_transaction_is_the_refund_of_one_conversion_only"),
    ),
    Guard(
        name="a refund is confirmed by its chain",
        why="What a service says about money that it sent is not the money.",
        edits=one(
            _REFUNDING,
            '            return None, f"the refund {refund.txid} is not confirmed yet"\n',
            "            arrived = attempt.deposit_amount or conversion.request.amount\n",
        ),
        tests=tests_of(
            *_REFUND,
            "test_nothing_is_paid_again_before_the_refund_is_confirmed",
            "test_a_parked_conversion_goes_on_when_its_refund_turns_up",
        ),
    ),
    Guard(
        name="a refund that cannot be seen is not confirmed",
        why="A node that does not answer has shown nothing.",
        edits=one(
            _REFUNDING,
            '            return None, f"the refund {refund.txid} cannot be seen: {error}"',
            "            return refund, str(error)",
        ),
        tests=tests_of(*_REFUND, "test_a_node_that_does_not_answer_proves_no_refund"),
    ),
    Guard(
        name="a refund brings back most of the deposit",
        why="The pool would pay what the service kept.",
        edits=one(_REFUNDING, "        if arrived < EXACT.multiply(sent, LEAST_SHARE):", "        if False:"),
        tests=tests_of(*_REFUND, "test_a_refund_that_is_much_too_small_goes_to_a_person"),
    ),
)

GUARDS = (*PROVE, *BOUND, *DEPOSITS)
