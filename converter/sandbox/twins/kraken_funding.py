"""Withdrawals of the Kraken twin, to addresses that were saved beforehand.

Source: `services/kraken.md` sections 5.4, 6, 7 and 13. `amount` is the whole debit, fee included; rows show the net
amount beside the fee. There is no reference of the client's own: two equal requests are two withdrawals. Inferred here:
the text for an address that is not the key's; an amount that is too small or not covered is `EFunding:Invalid amount`;
the coins leave, and the row gets its `txid`, when it is Settled; a withdrawal can be cancelled while it is Initial.
"""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Any

from converter.sandbox.twin import World
from converter.sandbox.twins.kraken_assets import ASSETS, METHODS, SERVICE_ID, asset_named
from converter.sandbox.twins.kraken_auth import Endpoint, KrakenError, Params
from converter.sandbox.twins.kraken_desk import TradingDesk
from converter.sandbox.twins.kraken_withdrawals import SavedAddress, Withdrawal, refid_of

STEP_SECONDS = 0.3
ENDINGS = ("success", "failure", "canceled", "stuck")
UNKNOWN_KEY = "EFunding:Unknown withdraw key"
_ROAD = {"Initial": "Pending", "Pending": "Settled", "Settled": "Success"}
_MAX_ROWS, _DAYS = 500, 90 * 86_400


class Funding:
    """All withdrawals of the account."""

    def __init__(self, world: World, desk: TradingDesk) -> None:
        self.ending = "success"
        self.hidden_lookups = 0
        self.keys: dict[str, SavedAddress] = {}
        self._world, self._desk = world, desk
        self._all: list[Withdrawal] = []
        self._born = int(world.now() * 1000)

    def endpoints(self) -> list[Endpoint]:
        """Methods, saved addresses, withdrawals."""
        private = "/0/private/"
        return [
            Endpoint(f"{private}WithdrawMethods", "info", self._methods),
            Endpoint(f"{private}WithdrawAddresses", "info", self._addresses),
            Endpoint(f"{private}WithdrawInfo", "info", self._info),
            Endpoint(f"{private}Withdraw", "withdraw", self._withdraw, executes=True),
            Endpoint(f"{private}WithdrawStatus", "status", self._status),
            Endpoint(f"{private}WithdrawCancel", "cancel", self._cancel, executes=True),
        ]

    def open_rows(self) -> list[dict[str, Any]]:
        """Rows that are still on their way."""
        return [row.view() for row in self._all if row.status in _ROAD]

    def tick(self) -> None:
        """Take every step that is due."""
        now = self._world.now()
        for row in self._all:
            if row.status in _ROAD and now >= row.due:
                row.due = now + STEP_SECONDS / self._world.speed
                self._advance(row)

    def _advance(self, row: Withdrawal) -> None:
        if self.ending == "stuck" and row.status == "Initial":
            row.prop = "onhold"
            return
        if self.ending in ("failure", "canceled") and row.status == "Pending":
            self._fail(row, "canceled" if self.ending == "canceled" else None)
            return
        row.prop = None
        if row.status == "Pending":
            try:
                row.txid = self._send(row)
            except ValueError:  # the saved address is none
                self._fail(row, "return")
                return
            self._world.truth.delivered(
                SERVICE_ID,
                order_id=row.refid,
                reference=None,
                to_coin=ASSETS[row.saved.method.asset_id].coin,
                amount=row.net,
                address=row.saved.address,
                txid=row.txid,
            )
        row.status = _ROAD[row.status]

    def _send(self, row: Withdrawal) -> str:
        coin, network = ASSETS[row.saved.method.asset_id].coin, row.saved.method.network
        if network == "Ethereum":
            pay = self._world.chain.pay if coin == "ETH" else self._world.chain.pay_token
            return pay(row.saved.address, row.net)
        if coin in self._world.utxo:
            return self._world.utxo[coin].pay(row.saved.address, row.net)
        return hashlib.sha256(f"txid {row.refid}".encode()).hexdigest()

    def _fail(self, row: Withdrawal, prop: str | None) -> None:
        row.status, row.prop = "Failure", prop
        self._desk.balances[row.saved.method.asset_id] += row.gross

    def _methods(self, params: Params) -> list[dict[str, Any]]:
        name = params.text("asset")
        wanted = asset_named(name, "EFunding:Unknown asset").asset_id if name else None
        return [
            {
                "asset": method.asset_id,
                "method": method.name,
                "network": method.network,
                "minimum": f"{method.minimum:f}",
            }
            for method in METHODS
            if wanted in (None, method.asset_id)
        ]

    def _addresses(self, params: Params) -> list[dict[str, Any]]:
        name, method, key = params.text("asset"), params.text("method"), params.text("key")
        wanted = asset_named(name, "EFunding:Unknown asset").asset_id if name else None
        verified = params.flag("verified") if params.text("verified") else None
        return [
            {
                "address": saved.address,
                "asset": saved.method.asset_id,
                "method": saved.method.name,
                "key": saved.name,
                "verified": saved.verified,
            }
            for saved in self.keys.values()
            if wanted in (None, saved.method.asset_id)
            and method in (None, saved.method.name)
            and key in (None, saved.name)
            and verified in (None, saved.verified)
        ]

    def _info(self, params: Params) -> dict[str, Any]:
        saved, gross = self._saved(params), params.decimal("amount")
        if gross is None or gross <= saved.method.fee:
            raise KrakenError("EFunding:Invalid amount")
        return {
            "method": saved.method.name,
            "limit": f"{self._desk.free(saved.method.asset_id):.8f}",
            "amount": f"{gross - saved.method.fee:.8f}",
            "fee": f"{saved.method.fee:.8f}",
        }

    def _saved(self, params: Params) -> SavedAddress:
        asset = asset_named(params.need("asset"), "EFunding:Unknown asset")
        saved = self.keys.get(params.need("key"))
        if saved is None or saved.method.asset_id != asset.asset_id:
            raise KrakenError(UNKNOWN_KEY)
        return saved

    def _withdraw(self, params: Params) -> dict[str, str]:
        saved, gross = self._saved(params), params.decimal("amount")
        if not saved.verified:
            raise KrakenError(UNKNOWN_KEY)
        if params.text("address") not in (None, saved.address):
            raise KrakenError("EFunding:Withdrawal address does not match the key")
        if (most := params.decimal("max_fee")) is not None and saved.method.fee > most:
            raise KrakenError("EFunding:Max fee exceeded")
        asset_id = saved.method.asset_id
        if gross is None or gross - saved.method.fee < saved.method.minimum or gross > self._desk.free(asset_id):
            raise KrakenError("EFunding:Invalid amount")
        if gross != gross.quantize(Decimal("1e-8")):
            raise KrakenError("EFunding:Invalid amount")
        now = self._world.now()
        refid = refid_of(f"{self._born} {len(self._all)}")
        self._desk.balances[asset_id] -= gross
        self._all.append(Withdrawal(refid, saved, gross, int(now), now + STEP_SECONDS / self._world.speed))
        facts = {"order_id": refid, "reference": None, "key": saved.name, "address": saved.address, "amount": gross}
        self._world.truth.executed(SERVICE_ID, "withdraw", asset=asset_id, **facts)
        return {"refid": refid}

    def _status(self, params: Params) -> Any:
        name, method = params.text("asset"), params.text("method")
        wanted = asset_named(name, "EFunding:Unknown asset").asset_id if name else None
        start, end = params.whole("start", int(self._world.now()) - _DAYS), params.whole("end", 2**40)
        limit = min(params.whole("limit", _MAX_ROWS), _MAX_ROWS)
        rows = [
            row.view()
            for row in reversed(self._all)
            if wanted in (None, row.saved.method.asset_id)
            and method in (None, row.saved.method.name)
            and start <= row.time <= end
        ]
        if self.hidden_lookups:
            self.hidden_lookups -= 1
            rows = []
        if params.text("cursor") in (None, "false"):
            return rows[:limit]
        offset = 0 if params.need("cursor") == "true" else params.whole("cursor", 0)
        following = str(offset + limit) if offset + limit < len(rows) else None
        return {"withdrawals": rows[offset : offset + limit], "next_cursor": following}

    def _cancel(self, params: Params) -> bool:
        asset_id, refid = asset_named(params.need("asset")).asset_id, params.need("refid")
        row = next((row for row in self._all if row.refid == refid and row.saved.method.asset_id == asset_id), None)
        if row is None:
            raise KrakenError("EFunding:Unknown reference id")
        if row.status != "Initial":
            return False
        self._fail(row, "canceled")
        self._world.truth.executed(SERVICE_ID, "cancel", order_id=refid, reference=None)
        return True
