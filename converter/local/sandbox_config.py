"""The configuration that points the system at the sandbox: addresses, keys that open nothing else, shorter times."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from converter.sandbox import credentials
from converter.sandbox.clients import KEYS, OPTIONS
from converter.security.keys import variable
from converter.services import REGISTRY
from converter.settings import default_file


def write_sandbox_config(home: Path, sandbox_url: str, only: Collection[str] | None = None) -> Path:
    """Write `sandbox.json` into the data folder; `only` names the services that take part, all when absent."""
    services: list[dict[str, Any]] = []
    for entry in json.loads(default_file().read_text())["services"]:
        found = {"id": entry["id"]}
        if only is not None and entry["id"] not in only:
            found["enabled"] = False
        if entry["id"] in REGISTRY:
            found.update(
                baseUrl=f"{sandbox_url}/{entry['id']}", options=OPTIONS.get(entry["id"], {}), recoveryTime=5000
            )
        services.append(found)
    content = {
        "services": services,
        "wallets": {
            "ETH": {
                "kind": "evm",
                "rpcUrl": f"{sandbox_url}/evm",
                "chainId": credentials.EVM_CHAIN_ID,
                "confirmations": 1,
            }
        },
        "engine": {"lease": 10000, "quoting": 8000, "poll": 500, "pollLimit": 5000},
    }
    file = home / "sandbox.json"
    file.write_text(json.dumps(content, indent=2))
    return file


def sandbox_environment() -> dict[str, str]:
    """Keys that the sandbox accepts."""
    return {variable(service_id, name): key for (service_id, name), key in KEYS.items()}
