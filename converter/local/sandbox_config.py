"""The configuration that points the system at the sandbox: addresses, keys that open nothing else, shorter times."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import requests

from converter.sandbox import credentials
from converter.sandbox.clients import ACCOUNTS, KEYS, NODES, OPTIONS, REFUNDS, WALLETS
from converter.security.keys import variable
from converter.services import REGISTRY
from converter.settings import default_file

_ENGINE = {"lease": 10000, "quoting": 8000, "poll": 500, "pollLimit": 5000}


def write_sandbox_config(
    home: Path,
    sandbox_url: str,
    only: Collection[str] | None = None,
    multi_service: Mapping[str, Any] | None = None,
) -> Path:
    """Write `sandbox.json` into the data folder; `only` names the services that take part, all when absent.

    Accounts there have larger limits of calls than outside, as everything goes faster.
    """
    for service_id, settings in ACCOUNTS.items():
        answer = requests.put(f"{sandbox_url}/_sandbox/services/{service_id}", json=settings, timeout=5)
        if answer.status_code != requests.codes.not_found:  # a sandbox may have been started without it
            answer.raise_for_status()
    refund_addresses = {f"refundAddress{coin}": _new_address(sandbox_url, coin) for coin in NODES}
    services: list[dict[str, Any]] = []
    for entry in json.loads(default_file().read_text())["services"]:
        found = {"id": entry["id"], "enabled": entry["id"] in REGISTRY}
        if only is not None and entry["id"] not in only:
            found["enabled"] = False
        if entry["id"] in REGISTRY:
            refunds = refund_addresses if entry["id"] in REFUNDS else {}
            options = {**OPTIONS.get(entry["id"], {}), **refunds}
            found.update(baseUrl=f"{sandbox_url}/{entry['id']}", options=options, recoveryTime=2000)
            found["rateLimit"] = {"calls": 100, "burst": 200}
        services.append(found)
    content = {
        "services": services,
        "wallets": {
            network: {**given, "rpcUrl": given["rpcUrl"].format(sandbox=sandbox_url)}
            for network, given in WALLETS.items()
        },
        "multiService": {"emergencyAfter": 5000, **(multi_service or {})},
        "engine": {**_ENGINE, "rateLimit": {"calls": 1000, "burst": 2000}},
    }
    file = home / "sandbox.json"
    file.write_text(json.dumps(content, indent=2))
    return file


def _new_address(sandbox_url: str, coin: str) -> str:
    """A fresh address of the pool's wallet, for refunds."""
    call = {"jsonrpc": "1.0", "id": "refunds", "method": "getnewaddress", "params": ["refunds"]}
    login = (credentials.BITCOIND_USER, credentials.BITCOIND_PASSWORD)
    answer = requests.post(f"{sandbox_url}/{coin.lower()}", json=call, auth=login, timeout=5)
    address: str = answer.json()["result"]
    return address


def sandbox_environment() -> dict[str, str]:
    """Keys that the sandbox accepts."""
    return {variable(service_id, name): key for (service_id, name), key in KEYS.items()}
