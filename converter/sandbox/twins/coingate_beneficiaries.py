"""Beneficiaries at CoinGate and the addresses to which they can be paid.

Source: `services/coingate.md` section 6. Inferred here: ids are numbers that grow; the field map of a refusal uses the
request's own names; an address is checked by shape alone; the lists' keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from converter.sandbox.twin import Request
from converter.sandbox.twins.coingate_assets import COINS, ApiError, Currency, Platform, currency_of
from converter.sandbox.twins.coingate_input import page_of
from converter.sandbox.twins.coingate_ledger import iso

_FIRST_ID, _FIRST_SETTING_ID = 1201, 4711
_REASON = "BeneficiaryIsNotValid"
_NAMES = {"person": ("first_name", "surname"), "business": ("company_name", "company_code")}
_OPTIONAL = ("country_state", "street_name", "building_number", "town_name", "post_code", "date_of_birth")


@dataclass
class PayoutSetting:
    """One address of a beneficiary."""

    setting_id: int
    beneficiary_id: int
    currency: Currency
    platform: Platform
    address: str
    metadata: str | None
    created: float

    def show(self) -> dict[str, Any]:
        """The setting's JSON."""
        return {
            "id": self.setting_id,
            "created_at": iso(self.created),
            "beneficiary_id": self.beneficiary_id,
            "platform": self.platform.show(),
            "crypto_address": self.address,
            "crypto_address_metadata": self.metadata,
            "currency": self.currency.show(),
        }


@dataclass
class Beneficiary:
    """A person or a business."""

    beneficiary_id: int
    kind: str
    facts: dict[str, Any]
    settings: list[PayoutSetting] = field(default_factory=list)

    def show(self) -> dict[str, Any]:
        """The beneficiary's JSON."""
        rows = [setting.show() for setting in self.settings]
        return {
            "id": self.beneficiary_id,
            "beneficiary_type": self.kind,
            **self.facts,
            "beneficiary_payout_settings": rows,
        }

    def fits(self, request: Request) -> bool:
        """Whether a list's filters let it through."""
        name = (request.one("search_name") or "").lower()
        known = {
            "beneficiary_id": str(self.beneficiary_id),
            "beneficiary_type": self.kind,
            "email": self.facts["email"],
        }
        same = all(request.one(key) in (None, "", value) for key, value in known.items())
        return same and name in " ".join(map(str, self.facts[self.kind].values())).lower()


class Beneficiaries:
    """All beneficiaries and their addresses."""

    def __init__(self, now: Any) -> None:
        self._now = now
        self._all: dict[int, Beneficiary] = {}
        self._settings: dict[int, PayoutSetting] = {}

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Register a beneficiary with its first address."""
        errors = _wrong_person(body)
        target = _target(body, errors)
        if errors or target is None:
            raise ApiError(422, _REASON, errors)
        kind = str(body["beneficiary_type"])
        facts = {kind: {name: str(body[kind][name]) for name in _NAMES[kind]}}
        facts |= {name: body[name] for name in ("email", "country")}
        facts |= {name: body[name] for name in _OPTIONAL if name in body}
        beneficiary = Beneficiary(_FIRST_ID + len(self._all), kind, facts)
        self._all[beneficiary.beneficiary_id] = beneficiary
        self._add(beneficiary, body, target)
        return beneficiary.show()

    def add_setting(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Register a further address."""
        beneficiary = self._beneficiary(str(body.get("beneficiary_id")))
        errors: dict[str, list[str]] = {}
        target = _target(body, errors)
        if target is None:
            raise ApiError(422, _REASON, errors)
        return self._add(beneficiary, body, target).show()

    def show(self, request: Request) -> dict[str, Any]:
        """One beneficiary."""
        return self._beneficiary(request.params["id"]).show()

    def page(self, request: Request) -> dict[str, Any]:
        """One page of beneficiaries."""
        return page_of(request, "beneficiaries", [row.show() for row in self._all.values() if row.fits(request)])

    def show_setting(self, request: Request) -> dict[str, Any]:
        """One address."""
        return self.setting(request.params["id"]).show()

    def list_settings(self, request: Request) -> dict[str, Any]:
        """One page of addresses."""
        rows = [setting.show() for setting in self._settings.values()]
        return page_of(request, "beneficiary_payout_settings", rows)

    def setting(self, setting_id: object) -> PayoutSetting:
        """The address of an id; ApiError 404 when there is none."""
        setting = next((row for row in self._settings.values() if str(row.setting_id) == str(setting_id)), None)
        if setting is None:
            raise ApiError(404, "BeneficiaryPayoutSettingNotFound")
        return setting

    def _beneficiary(self, beneficiary_id: str) -> Beneficiary:
        found = next((row for row in self._all.values() if str(row.beneficiary_id) == beneficiary_id), None)
        if found is None:
            raise ApiError(404, "BeneficiaryNotFound")
        return found

    def _add(
        self, owner: Beneficiary, body: Mapping[str, Any], target: tuple[Currency, Platform, str]
    ) -> PayoutSetting:
        currency, platform, address = target
        metadata = body.get("crypto_address_metadata") or None
        setting = PayoutSetting(
            setting_id=_FIRST_SETTING_ID + len(self._settings),
            beneficiary_id=owner.beneficiary_id,
            currency=currency,
            platform=platform,
            address=address,
            metadata=None if metadata is None else str(metadata),
            created=self._now(),
        )
        owner.settings.append(setting)
        self._settings[setting.setting_id] = setting
        return setting


def _wrong_person(body: Mapping[str, Any]) -> dict[str, list[str]]:
    errors: dict[str, list[str]] = {}
    kind = body.get("beneficiary_type")
    if kind not in _NAMES:
        errors["beneficiary_type"] = ["is not included in the list"]
    else:
        given = body.get(kind)
        for name in _NAMES[kind]:
            if not isinstance(given, Mapping) or not given.get(name):
                errors[f"{kind}.{name}"] = ["can't be blank"]
    if "@" not in str(body.get("email") or ""):
        errors["email"] = ["is invalid"]
    if not re.fullmatch(r"[A-Z]{3}", str(body.get("country") or "")):
        errors["country"] = ["is invalid"]
    return errors


def _target(body: Mapping[str, Any], errors: dict[str, list[str]]) -> tuple[Currency, Platform, str] | None:
    currency = currency_of(body.get("currency_id"), COINS)
    if currency is None:
        errors["currency_id"] = ["is invalid"]
        return None
    wanted, address = str(body.get("platform_id")), str(body.get("crypto_address") or "")
    platform = next((item for item in currency.platforms if str(item.platform_id) == wanted), None)
    if platform is None:
        errors["platform_id"] = ["is invalid"]
        return None
    if not platform.accepts(address):
        errors["crypto_address"] = ["is invalid"]
        return None
    return currency, platform, address
