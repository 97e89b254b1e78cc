"""The relay of the drill: every service executes once. Whoever did is put down, and the next one must take over."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from converter.client import ConversionHandle, MultiServiceConverter
from converter.domain.conversions import State
from converter.sandbox.clients import saving

_TAKEN = (State.SETTLING, State.COMPLETED)


@dataclass(frozen=True)
class Track:
    """What the relay needs of the drill: its ways to set the sandbox, to wait, to speak, and an address per lap."""

    put: Callable[[str, dict[str, Any]], None]
    wait: Callable[[Callable[[], bool], float], None]
    tell: Callable[[str], None]
    addresses: list[str]


def run_relay(converter: MultiServiceConverter, services: Collection[str], track: Track) -> list[ConversionHandle]:
    """One lap for each address; returns the conversions. All services are down afterwards, save those that failed."""
    for service_id, settings in saving(track.addresses).items():
        if service_id in services:
            track.put(f"services/{service_id}", settings)
    handles: list[ConversionHandle] = []
    for address in track.addresses:
        handle = converter.convert(from_coin="ETH", to_coin="BTC", amount="1.5", address=address)
        handles.append(handle)
        track.wait(lambda handle=handle: handle.state in _TAKEN, 20.0)  # type: ignore[misc]
        runner = handle.details().service_id
        if runner is not None:
            track.put(f"faults/{runner}", {"kind": "down"})
            track.tell(f"{runner} executed and is put down")
    return handles
