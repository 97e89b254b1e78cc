"""The CoinGate twin: API v2 as `services/coingate.md` describes it, below `/v2` and `/api/v2` alike.

A client keeps balances in ledger accounts, registers the address as a beneficiary's payout setting, makes a send
request with its own `external_id` (a draft), confirms it within a minute, and looks it up by id or by paging through
the list.

Facts from the sheet: `Authorization: Token …` (or `Bearer …`), JSON or form bodies, amounts as text, errors as
`{"message", "reason", "errors"}`, 200 requests a minute for public and for private calls, callbacks without a signature
at creation and at every change of status. Inferred here: everything of the sheet's section 3 needs no token; a missing
token is `BadCredentials`, a wrong one `BadAuthToken`; the token check answers `OK`; a created object is answered with
200. Not served: orders (incoming payments), withdrawals, mass payouts. Callbacks go out before the answer to the call
that caused them.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, ClassVar
from urllib.parse import urlencode

from converter.sandbox.credentials import COINGATE_TOKEN
from converter.sandbox.twin import Request, Response, Route, World
from converter.sandbox.twins.coingate_assets import SERVICE_ID, ApiError, Rates, plain
from converter.sandbox.twins.coingate_beneficiaries import Beneficiaries
from converter.sandbox.twins.coingate_conversions import Conversion, Conversions
from converter.sandbox.twins.coingate_input import body_of, form_of
from converter.sandbox.twins.coingate_ledger import Ledger
from converter.sandbox.twins.coingate_public import TEXT, PublicInfo
from converter.sandbox.twins.coingate_sends import Sends
from converter.sandbox.twins.coingate_settings import apply_settings
from converter.sandbox.twins.coingate_views import Send
from converter.sandbox.wire import to_json

_REQUESTS_PER_MINUTE = 200
_REFUSALS = {
    "quote": (404, "RecordNotFound"),
    "order": (422, "SendRequestIsNotValid"),
    "approve": (404, "SendRequestNotFound"),
    "cancel": (422, "SendRequestIsNotValid"),
}
_OPEN = ("draft", "in_progress", "processing")
_ID = "(?P<id>[^/]+)"
_Handler = Callable[[Request], Any]


class CoinGateTwin:
    """One merchant's API app; the public fields are set by `configure`."""

    service_id: ClassVar[str] = SERVICE_ID

    def __init__(self, world: World) -> None:
        self.callback_format = "json"
        self.callback_numbers = False
        self.ledger = Ledger(world)
        self._world = world
        rates = Rates(world)
        self.sends = Sends(world, rates, self.ledger, self._notify)
        self.public = PublicInfo(world, rates)
        self._conversions = Conversions(world, rates, self.ledger)
        self._beneficiaries = Beneficiaries(world.now)
        self._calls: dict[bool, deque[float]] = {True: deque(), False: deque()}

    def routes(self) -> list[Route]:
        """The public calls, then those that need the token."""
        rates = "/ledger/conversions/rates"
        public: list[tuple[str, str, _Handler]] = [
            ("/ping", "info", self.public.ping),
            ("/rates", "info", self.public.all_rates),
            ("/rates/merchant/(?P<base>[^/]+)/(?P<quote>[^/]+)", "quote", self.public.plain_rate),
            (rates, "quote", self.public.conversion_rates),
            (f"{rates}/(?P<base>[^/]+)", "quote", self.public.conversion_rates),
            (f"{rates}/(?P<base>[^/]+)/(?P<quote>[^/]+)", "quote", self.public.conversion_rates),
            ("/currencies", "info", self.public.currencies),
            ("/platforms", "info", self.public.platforms),
            ("/(?:send_requests|deposits)/supported-currencies", "info", self.public.supported),
            ("/outgoing_fees", "info", self.public.network_fees),
            ("/ips-v4", "info", self.public.senders),
        ]
        return [
            *(self._route("GET", path, operation, handle, private=False) for path, operation, handle in public),
            *(self._route(method, path, word, handle, private=True) for method, path, word, handle in self._private()),
        ]

    def _private(self) -> list[tuple[str, str, str, _Handler]]:
        people, ledger, sends = self._beneficiaries, self.ledger, self.sends
        conversion = f"/ledger/conversions/{_ID}"
        send = f"/send_requests/{_ID}"
        return [
            ("GET", "/auth/test", "info", lambda _: Response(200, b"OK", TEXT)),
            ("GET", "/ledger/accounts", "info", ledger.show_accounts),
            ("GET", f"/ledger/accounts/{_ID}", "info", lambda r: ledger.get(r.params["id"]).show()),
            ("GET", "/ledger/transactions", "status", ledger.show_entries),
            ("POST", "/ledger/conversions", "order", self._convert),
            ("GET", "/ledger/conversions", "status", self._conversions.page),
            ("GET", conversion, "status", lambda r: self._conversions.get(r.params["id"]).show()),
            ("PATCH", f"{conversion}/confirm", "approve", lambda r: self._finish(r, "approve", "confirm")),
            ("PATCH", f"{conversion}/cancel", "cancel", lambda r: self._finish(r, "cancel", "cancel")),
            ("POST", "/beneficiaries", "info", lambda r: people.create(body_of(r))),
            ("GET", "/beneficiaries", "info", people.page),
            ("GET", f"/beneficiaries/{_ID}", "info", people.show),
            ("POST", "/beneficiary_payout_settings", "info", lambda r: people.add_setting(body_of(r))),
            ("GET", "/beneficiary_payout_settings", "info", people.list_settings),
            ("GET", f"/beneficiary_payout_settings/{_ID}", "info", people.show_setting),
            ("POST", "/send_requests", "order", lambda r: self._sent("order", sends.create(body_of(r), people))),
            ("GET", "/send_requests", "status", sends.page),
            ("GET", send, "status", lambda r: sends.get(r.params["id"]).show()),
            ("PATCH", f"{send}/confirm", "approve", lambda r: self._sent("approve", sends.confirm(r.params["id"]))),
            ("PATCH", f"{send}/cancel", "cancel", lambda r: self._sent("cancel", sends.cancel(r.params["id"]))),
        ]

    def refusal(self, operation: str) -> Response:
        """A no that proves that nothing was executed; to a look-up one that says nothing about the request."""
        return _answer(ApiError(*_REFUSALS.get(operation, (401, "BadCredentials"))))

    def tick(self) -> None:
        """See deposits, let drafts expire, move send requests along."""
        self.ledger.tick()
        self._conversions.tick()
        self.sends.tick()

    def configure(self, settings: Mapping[str, Any]) -> None:
        """See `coingate_settings` for what can be set."""
        apply_settings(self, settings)

    def describe(self) -> dict[str, Any]:
        """Balances, deposit addresses, settings and the send requests that are not at their end."""
        return {
            "balances": {account.currency.symbol: plain(account.balance) for account in self.ledger},
            "deposit_addresses": {account.currency.symbol: account.address for account in self.ledger},
            "ending": self.sends.ending,
            "draft_seconds": self.sends.draft_seconds,
            "fees_inside": self.sends.fees_inside,
            "requires_2fa": self.sends.requires_2fa,
            "credit_back": self.sends.credit_back,
            "callback_format": self.callback_format,
            "callback_numbers": self.callback_numbers,
            "rates_as_text": self.public.rates_as_text,
            "open_orders": [send.show() for send in self.sends if send.status in _OPEN],
        }

    def _route(self, method: str, path: str, operation: str, handle: _Handler, *, private: bool) -> Route:
        def guarded(request: Request) -> Response:
            try:
                self._admit(request, private=private)
                answer = handle(request)
            except ApiError as error:
                return _answer(error)
            return answer if isinstance(answer, Response) else Response(200, answer)

        pattern = re.compile(f"(?:/api)?/v2{path}/?")
        return Route(method, pattern, operation, guarded, executes=operation in ("order", "approve", "cancel"))

    def _admit(self, request: Request, *, private: bool) -> None:
        if private:
            kind, _, token = request.headers.get("authorization", "").partition(" ")
            if kind not in ("Token", "Bearer") or not token:
                raise ApiError(401, "BadCredentials")
            if token != COINGATE_TOKEN:
                raise ApiError(401, "BadAuthToken")
        now, calls = self._world.now(), self._calls[private]
        while calls and calls[0] <= now - 60 / self._world.speed:
            calls.popleft()
        if len(calls) >= _REQUESTS_PER_MINUTE:
            raise ApiError(429, "RateLimitExceeded", message="API request limit is exceeded")
        calls.append(now)

    def _sent(self, operation: str, send: Send) -> dict[str, Any]:
        self._world.truth.executed(
            SERVICE_ID,
            operation,
            order_id=str(send.send_id),
            reference=send.external_id,
            address=send.setting.address,
            amount=send.cost.debit,
        )
        return send.show()

    def _convert(self, request: Request) -> dict[str, Any]:
        return self._converted("order", self._conversions.create(body_of(request)))

    def _finish(self, request: Request, operation: str, action: str) -> dict[str, Any]:
        return self._converted(operation, self._conversions.finish(request.params["id"], action))

    def _converted(self, operation: str, row: Conversion) -> dict[str, Any]:
        facts = {"order_id": row.conversion_id, "reference": None, "address": None, "amount": row.base_amount}
        self._world.truth.executed(SERVICE_ID, operation, **facts)
        return row.show()

    def _notify(self, send: Send) -> None:
        if not isinstance(send.callback_url, str):
            return
        body = send.callback(numbers=self.callback_numbers)
        if self.callback_format == "json":
            kind, data = "application/json", to_json(body).encode()
        else:
            kind, data = "application/x-www-form-urlencoded", urlencode(form_of(body)).encode()
        with suppress(ValueError):  # an address outside this machine gets nothing
            self._world.callback(SERVICE_ID, send.callback_url, {"Content-Type": kind}, data)


def _answer(error: ApiError) -> Response:
    return Response(error.status, error.body)
