"""Webhooks of the BTCPay twin: made, listed and removed over the API, told of every payout, signed.

Source: `services/btcpay_lightning.md` section 9: `BTCPay-Sig: sha256=<hex>`, HMAC-SHA256 with the webhook's secret over
the body's bytes; the fields of a delivery. Inferred here: which change is which event (made, approved, every later
state), and that an event that the webhook does not name is not sent to it. The server's redeliveries are those of the
sandbox: the same bytes again.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from converter.sandbox.credentials import BTCPAY_STORE_ID
from converter.sandbox.twin import Request, Response, World
from converter.sandbox.twins.btcpay_input import BASE58, SERVICE_ID, ApiError, Invalid, body_of
from converter.sandbox.wire import to_json

EVENTS = ("PayoutCreated", "PayoutApproved", "PayoutUpdated")


@dataclass(frozen=True)
class Webhook:
    """Who is told of what."""

    webhook_id: str
    url: str
    secret: str
    enabled: bool
    everything: bool
    events: tuple[str, ...]

    def show(self, *, secret: bool = False) -> dict[str, Any]:
        """The webhook's JSON; the secret stands there only at its creation."""
        told = {"everything": self.everything, "specificEvents": list(self.events)}
        body = {"id": self.webhook_id, "enabled": self.enabled, "automaticRedelivery": True, "url": self.url}
        return body | {"authorizedEvents": told} | ({"secret": self.secret} if secret else {})


class Webhooks:
    """All webhooks of the store. `signs_wrongly` is a switch of the control interface."""

    def __init__(self, world: World) -> None:
        self.signs_wrongly = False
        self._world = world
        self._all: dict[str, Webhook] = {}

    def create(self, request: Request) -> Response:
        """`POST …/webhooks`."""
        body = body_of(request)
        url, told = body.get("url"), body.get("authorizedEvents") or {"everything": True}
        if not isinstance(url, str) or not url.startswith(("http://", "https://")):
            raise Invalid("url", "The url must be absolute")
        if not isinstance(told, Mapping) or not isinstance(told.get("specificEvents") or [], list):
            raise Invalid("authorizedEvents", "The events are not valid")
        hook = Webhook(
            webhook_id=_fresh(),
            url=url,
            secret=str(body.get("secret") or _fresh()),
            enabled=body.get("enabled") is not False,
            everything=told.get("everything") is True,
            events=tuple(map(str, told.get("specificEvents") or [])),
        )
        self._all[hook.webhook_id] = hook
        return Response(200, hook.show(secret=True))

    def show_all(self, _request: Request) -> Response:
        """`GET …/webhooks`."""
        return Response(200, [hook.show() for hook in self._all.values()])

    def remove(self, request: Request) -> Response:
        """`DELETE …/webhooks/{id}`."""
        if self._all.pop(request.params["webhook"], None) is None:
            raise ApiError(404, "webhook-not-found")
        return Response(200)

    def tell(self, event: str, payout: Mapping[str, Any]) -> None:
        """Post an event of a payout to everyone who wants it."""
        for hook in self._all.values():
            if hook.enabled and (hook.everything or event in hook.events):
                self._post(hook, event, payout)

    def _post(self, hook: Webhook, event: str, payout: Mapping[str, Any]) -> None:
        delivery_id = _fresh()
        body = {
            "deliveryId": delivery_id,
            "webhookId": hook.webhook_id,
            "originalDeliveryId": delivery_id,
            "isRedelivery": False,
            "type": event,
            "timestamp": int(self._world.now()),
            "storeId": BTCPAY_STORE_ID,
            "payoutId": payout["id"],
            "pullPaymentId": None,
            "payoutState": payout["state"],
        }
        data = to_json(body).encode()
        secret = hook.secret + ("?" if self.signs_wrongly else "")
        signature = hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", "BTCPay-Sig": f"sha256={signature}"}
        with suppress(ValueError):  # an address outside this machine gets nothing
            self._world.callback(SERVICE_ID, hook.url, headers, data)


def _fresh() -> str:
    return "".join(secrets.choice(BASE58) for _ in range(22))
