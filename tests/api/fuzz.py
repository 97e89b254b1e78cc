"""`make fuzz`: schemathesis plays cases against the HTTP API of a running system that converts in the sandbox.

Other cases each time, unless a seed is named. Ends with 0 when no answer was other than the OpenAPI document says, and
at least so many cases were played.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import requests

from converter.api.documentation import PLACE
from converter.local.stack import Stack, StackOptions
from tests.builders import BTC_ADDRESS

ROOT = Path(__file__).parents[2]

CHECKS: dict[str, Any] = {
    # A text may have its form and still be no address, no amount above a minimum, no conversion that it fits.
    "positive_data_acceptance": {"expected-statuses": ["2xx", "401", "403", "404", "409", "422"]},
}
ENDLESS = r"^/api/v1/events$"
"""A stream that ends only when its reader goes."""

_TOML = """\
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "422"]
"""


def play(url: str, folder: Path, examples: int, seed: int | None) -> tuple[int, int]:
    """Schemathesis' exit code, and how many requests it made."""
    config, report = folder / "schemathesis.toml", folder / "report.har"
    config.write_text(_TOML)
    words = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", url + PLACE]
    words += ["--max-examples", str(examples), "--exclude-path-regex", ENDLESS, "--report-har-path", str(report)]
    words += ["--suppress-health-check", "all", "--request-timeout", "20", "--continue-on-failure"]
    words += ["--seed", str(seed)] if seed is not None else []
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.api.fuzz_hooks"}
    environ["FUZZ_CONVERSIONS"] = ",".join(some_conversions(url, 20))
    code = subprocess.run(words, check=False, cwd=folder, env=environ).returncode
    return code, len(json.loads(report.read_text())["log"]["entries"])


def some_conversions(url: str, count: int) -> list[str]:
    """Ids of conversions that are there to be asked for."""
    body = {"fromCoin": "ETH", "toCoin": "BTC", "amount": "0.5", "address": BTC_ADDRESS}
    place = f"{url}/api/v1/conversions"
    made = [requests.post(place, json=body, headers={"Idempotency-Key": str(one)}, timeout=20) for one in range(count)]
    return [one.json()["id"] for one in made]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--examples", type=int, default=200, help="of each operation and kind of data")
    parser.add_argument("--seed", type=int)
    given = parser.parse_args()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CONVERTER_")}
    with tempfile.TemporaryDirectory(prefix="converter-fuzz-") as folder:
        stack = Stack(Path(folder), kept, sandbox=True, options=StackOptions(sandbox_speed=5.0, api_port=0))
        try:
            url = stack.start()["api"]
            code, played = play(url, Path(folder), given.examples, given.seed)
        finally:
            stack.stop()
    print(f"{played} requests, exit code {code}")
    return code or int(played < given.cases)


if __name__ == "__main__":
    sys.exit(main())
