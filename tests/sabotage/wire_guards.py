"""Guards where we meet the outside: what left us, what an answer proves, whether it speaks of our order."""

from __future__ import annotations

from tests.sabotage.guard import Guard, one, tests_of

_BASE = "converter/services/base.py"
_HTTP = "converter/transport/http.py"
_CONNECTIONS = "converter/transport/connections.py"
_EXCHANGE = "converter/transport/exchange.py"
_SWAP = "converter/services/changenow_orders.py"
_PROCESSOR = "converter/services/coingate_requests.py"

_TRANSPORT = ("tests/transport/test_http.py",)
_CONTRACT = ("tests/services/test_changenow.py",)
_PROCESSOR_CONTRACT = ("tests/services/test_coingate.py",)

TRANSPORT = (
    Guard(
        name="what has left us is known",
        why="A reset after the request was read is not the refusal of a connection: the service may have executed it.",
        edits=one(_EXCHANGE, "(self.tracked and not self.sent)", "self.tracked"),
        tests=tests_of(*_TRANSPORT, "test_what_breaks_after_the_first_byte_leaves_the_outcome_open"),
    ),
    Guard(
        name="only our own sockets tell that nothing left",
        why="What another adapter did with the request is not seen, and so not proven.",
        edits=one(
            _EXCHANGE,
            "not self.handed_over or (self.tracked and not self.sent)",
            "not self.handed_over or not self.sent",
        ),
        tests=tests_of(*_TRANSPORT, "test_a_mocked_connection_error_is_no_proof_that_nothing_was_sent"),
    ),
    Guard(
        name="sending is noted before the first byte",
        why="A write that fails halfway has sent something.",
        edits=one(
            _CONNECTIONS,
            "        current().about_to_send(self.sock)\n        super().send(data)",
            "        super().send(data)\n        current().about_to_send(self.sock)",
        ),
        tests=tests_of(*_TRANSPORT, "test_a_first_write_that_fails_halfway_leaves_the_outcome_open"),
    ),
    Guard(
        name="no first byte after the deadline",
        why="A connection that took long must not carry an order after its moment.",
        edits=one(
            _EXCHANGE,
            "fileno=os.dup(sock.fileno()))\n        self.check()",
            "fileno=os.dup(sock.fileno()))",
        ),
        tests=tests_of(*_TRANSPORT, "test_a_deadline_that_passes_while_connecting_stops_the_first_byte"),
    ),
    Guard(
        name="an answer that the deadline cut is no answer",
        why="Half of a body may look like a whole one.",
        edits=one(_HTTP, "if answer is None or exchange.cut:", "if answer is None:"),
        tests=tests_of(
            *_TRANSPORT,
            "test_a_body_that_looks_complete_after_the_cut_is_no_answer",
            "test_a_slow_answer_is_cut_at_the_deadline",
        ),
    ),
    Guard(
        name="no retry by the transport",
        why="A library that sends an order again on a reset executes it twice.",
        edits=one(_HTTP, "max_retries=0)", 'max_retries=__import__("urllib3").Retry(2, allowed_methods=None))'),
        tests=tests_of(
            *_TRANSPORT,
            "test_what_breaks_after_the_first_byte_leaves_the_outcome_open",
            "test_a_pooled_connection_that_dies_under_the_request_is_not_tried_again",
        ),
    ),
    Guard(
        name="no redirect",
        why="A redirect sends the order again, to a place that nobody chose.",
        edits=one(
            _HTTP,
            "adapter.send(request, stream=True, timeout=timeout, verify=self._verify, proxies={}) as response,",
            "self._session().send(request, allow_redirects=True, stream=True, timeout=timeout, verify=self._verify,"
            " proxies={}) as response,",
        ),
        tests=tests_of(*_TRANSPORT, "test_a_redirect_is_returned_and_not_followed"),
    ),
    Guard(
        name="a connection of its own for an order",
        why="On a kept connection an earlier silence of the peer makes the outcome of an order doubtful.",
        edits=one(
            _CONNECTIONS,
            "return self._new_conn() if current().fresh else super()._get_conn(timeout)",
            "return super()._get_conn(timeout)",
        ),
        tests=tests_of(*_TRANSPORT, "test_reads_share_a_connection_and_orders_have_one_each"),
    ),
    Guard(
        name="numbers of an answer are exact",
        why="A float rounds an amount before anybody can compare it.",
        edits=one("converter/transport/json_text.py", "parse_float=Decimal", "parse_float=float"),
        tests=tests_of(*_TRANSPORT, "test_numbers_in_json_are_exact"),
    ),
)

ANSWERS = (
    Guard(
        name="an order is not sent after its moment",
        why="The reads before an order take time; the ledger says until when it may leave.",
        edits=one(_BASE, "        if send_by.expired:\n", "        if False:\n"),
        tests=_CONTRACT,
        keyword="nothing_is_sent",
    ),
    Guard(
        name="a lost answer of a service is unknown",
        why="The request may have arrived and been executed.",
        edits=one(
            _BASE,
            "raise OutcomeUnknown(self._id, call.operation, detail=error.cause_text) from error",
            "raise ServiceUnavailable(self._id, call.operation, detail=error.cause_text) from error",
        ),
        tests=_CONTRACT,
        keyword="unclear_answer",
    ),
    Guard(
        name="an error that is not on the whitelist is unknown",
        why="A 502 of a proxy says nothing about the order behind it.",
        edits=one(
            _BASE,
            "raise OutcomeUnknown(self._id, call.operation, code=str(answer.status))",
            "raise ServiceUnavailable(self._id, call.operation, code=str(answer.status))",
        ),
        tests=_CONTRACT,
        keyword="proves_nothing or prove_nothing",
    ),
    Guard(
        name="a success that cannot be read is unknown",
        why="The order stands at the service, only its answer is broken.",
        edits=one(
            _BASE,
            "raise OutcomeUnknown(self._id, call.operation, detail=str(error)) from error",
            "raise ServiceUnavailable(self._id, call.operation, detail=str(error)) from error",
        ),
        tests=_CONTRACT,
        keyword="unclear_answer",
    ),
    Guard(
        name="a repeated id is no refusal",
        why="The id is taken because an earlier send of ours arrived.",
        edits=one(
            "converter/services/kraken_errors.py",
            "        return None  # the order may be there: it is looked up",
            '        return ServiceRejected("kraken", operation, code=code)',
        ),
        tests=("tests/services/test_kraken.py",),
        keyword="doubts_and_unlisted",
    ),
    Guard(
        name="an exchange's error that is not listed is unknown",
        why="A new text may speak of an order that was taken.",
        edits=one(
            "converter/services/kraken_errors.py",
            "    if operation in EXECUTING:\n        return None\n",
            '    if operation in EXECUTING:\n        return ServiceRejected("kraken", operation, code=code)\n',
        ),
        tests=("tests/services/test_kraken.py",),
        keyword="doubts_and_unlisted",
    ),
    Guard(
        name="a status that is not mapped is unknown",
        why="A new word of a service must not be taken for the end of an order.",
        edits=one(
            _SWAP,
            '    status = STATUS.get(body["status"])\n',
            '    status = STATUS.get(str(body["status"]), OrderStatus.EXPIRED)\n',
        ),
        tests=_CONTRACT,
        keyword="undocumented_status",
    ),
    Guard(
        name="a look-up that failed is no absence",
        why="None means that the service is certain.",
        edits=one(
            "converter/services/changenow.py",
            "            if error.code == _ABSENT:\n                return None\n            raise\n",
            "            if error.code:\n                return None\n            raise\n",
        ),
        tests=_CONTRACT,
        keyword="absence",
    ),
    Guard(
        name="only an order with our name is ours",
        why="One that merely fits may be another conversion's, and would be paid for this one.",
        edits=one(
            "converter/services/changenow.py",
            "ours = [row for row in fitting if key_of(row) == ref.request.key]",
            "ours = fitting",
        ),
        tests=_CONTRACT,
        keyword="our_name or another_name",
    ),
)

INTEGRITY = (
    Guard(
        name="an answer's amount is ours (deposit swap)",
        why="An order for another amount is another order.",
        edits=one(_SWAP, "    if not same or exact(body[amount_field]) != sendable(request):", "    if not same:"),
        tests=_CONTRACT,
        keyword="something_else",
    ),
    Guard(
        name="an answer's coins are ours (deposit swap)",
        why="Another network's coin may be worth nothing.",
        edits=one(
            _SWAP,
            "    if not same or exact(body[amount_field]) != sendable(request):",
            "    if exact(body[amount_field]) != sendable(request):",
        ),
        tests=_CONTRACT,
        keyword="something_else",
    ),
    Guard(
        name="an answer's address is ours (deposit swap)",
        why="The payout would go to somebody else.",
        edits=one(
            _SWAP,
            '    if named != (ref.service_order_id, ref.request.address, ""):',
            "    if named[0] != ref.service_order_id:",
        ),
        tests=_CONTRACT,
        keyword="something_else",
    ),
    Guard(
        name="an order for less than the bound is refused (deposit swap)",
        why="The offer that was chosen is the one to execute at.",
        edits=one(
            "converter/services/changenow.py",
            'body["flow"] != _FIXED["flow"] or exact(body["toAmount"]) < order.minimum_net:',
            'body["flow"] != _FIXED["flow"]:',
        ),
        tests=_CONTRACT,
        keyword="something_else or bound",
    ),
    Guard(
        name="an answer's amount and address are ours (processor)",
        why="A draft to another address must not be confirmed.",
        edits=one(
            _PROCESSOR,
            'if not leads_to(body["beneficiary_payout_setting"], request) or '
            'exact(body["sending_amount"]) != request.net:',
            "if False:",
        ),
        tests=_PROCESSOR_CONTRACT,
        keyword="something_else",
    ),
    Guard(
        name="an answer's reference and coins are ours (processor)",
        why="Another draft of the same account is another conversion's.",
        edits=one(
            _PROCESSOR,
            "if named != (ref.service_order_id, request.key) or coins != (symbol(request.from_asset), "
            "symbol(request.to_asset)):",
            "if False:",
        ),
        tests=_PROCESSOR_CONTRACT,
        keyword="something_else",
    ),
    Guard(
        name="an offer answers the question",
        why="A quote for another amount or pair would win against honest ones.",
        edits=one(
            "converter/guard.py",
            "    honest = quote.request == request and quote.service_id == service_id",
            "    honest = True",
        ),
        tests=("tests/app/test_quoting.py", "tests/app/test_selecting.py"),
    ),
    Guard(
        name="only the transaction's own id proves a broadcast",
        why="A node that names another transaction has not taken ours.",
        edits=one(
            "converter/wallets/evm.py", "        if str(named).lower() != transfer.txid:\n", "        if not named:\n"
        ),
        tests=("tests/wallets/test_evm.py",),
    ),
    Guard(
        name="a used nonce is asked about twice",
        why="Our own transaction may have been mined between two questions, and is not replaced.",
        edits=one(
            "converter/wallets/evm.py",
            "return Sighting.PENDING if again is not None else Sighting.REPLACED",
            "return Sighting.REPLACED",
        ),
        tests=("tests/wallets/test_evm.py",),
    ),
    Guard(
        name="a callback changes no pace of a reconciliation",
        why="The pauses belong to the proof, and a callback may be forged.",
        edits=one("converter/hearing.py", "    if conversion.state is not State.SETTLING:\n        return False\n", ""),
        tests=("tests/api/test_callbacks_in.py",),
    ),
)

GUARDS = (*TRANSPORT, *ANSWERS, *INTEGRITY)
