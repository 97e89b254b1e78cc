"""The control interface below `/_sandbox/`: health, truth, market, faults, services."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from converter.sandbox.faults import FaultBook, parse_faults
from converter.sandbox.market import SeededMarket
from converter.sandbox.registry import Mount
from converter.sandbox.truth import TruthBook
from converter.sandbox.twin import Request, Response


class Control:
    """Answers `/_sandbox/...`; a wrong body is 400 with the field, the problem and what is accepted."""

    def __init__(
        self,
        truth: TruthBook,
        market: SeededMarket,
        faults: FaultBook,
        mounts: Mapping[str, Mount],
        problems: Sequence[str],
    ) -> None:
        self._truth, self._market, self._faults = truth, market, faults
        self._mounts, self._problems = mounts, problems
        self._answers: dict[str, Callable[[str, str | None, Any], Any]] = {
            "health": self._health,
            "truth": self._show_truth,
            "market": self._answer_market,
            "faults": self._answer_faults,
            "services": self._answer_services,
        }

    def handle(self, request: Request) -> Response:
        """The answer to one request."""
        topic, _, name = request.path.strip("/").partition("/")
        if topic not in self._answers or (name and topic not in ("faults", "services")):
            return Response(404, {"error": f"path: unknown; accepted: /_sandbox/ {', '.join(self._answers)}"})
        if name and name not in self._mounts:
            return Response(404, {"error": f"service_id: unknown {name!r}; accepted: {', '.join(self._mounts)}"})
        try:
            body = request.json() if request.method == "PUT" else None
        except ValueError:
            return Response(400, {"error": "body: not JSON; accepted: a JSON object"})
        try:
            answer = self._answers[topic](request.method, name or None, body)
        except ValueError as error:
            return Response(400, {"error": str(error)})
        if answer is None:
            return Response(405, {"error": f"method: {request.method} does nothing here"})
        return Response(200, answer)

    def _health(self, method: str, _name: str | None, _body: Any) -> Any:
        return {"ok": not self._problems, "problems": self._problems} if method == "GET" else None

    def _show_truth(self, method: str, _name: str | None, _body: Any) -> Any:
        if method != "GET":
            return None
        return {"deliveries": self._truth.deliveries, "executions": self._truth.executions}

    def _answer_market(self, method: str, _name: str | None, body: Any) -> Any:
        if method == "PUT":
            self._market.configure(_object(body))
        return self._market.describe() if method in ("GET", "PUT") else None

    def _answer_faults(self, method: str, name: str | None, body: Any) -> Any:
        if method == "PUT" and name:
            self._faults.set(name, parse_faults(body, self._mounts[name].operations))
        elif method == "DELETE":
            self._faults.clear(name)
        elif method != "GET":
            return None
        if name:
            return self._faults.describe(name)
        return {service_id: self._faults.describe(service_id)["faults"] for service_id in self._mounts}

    def _answer_services(self, method: str, name: str | None, body: Any) -> Any:
        if method == "PUT" and name:
            self._mounts[name].configure(_object(body))
        elif method != "GET":
            return None
        if name:
            return self._mounts[name].describe()
        return {service_id: {"operations": mount.operations} for service_id, mount in self._mounts.items()}


def check_switches(
    settings: Mapping[str, Any], fields: Sequence[str], *, counts: Sequence[str], rejects: Sequence[str]
) -> None:
    """Check a chain's settings: `reject` names a way or is null, `counts` are whole numbers, the rest true or false."""
    for name, given in settings.items():
        if name not in fields:
            raise ValueError(f"{name}: unknown field; accepted: {', '.join(fields)}")
        if name == "reject":
            if given not in (None, *rejects):
                raise ValueError(f"reject: unknown {given!r}; accepted: null, {', '.join(rejects)}")
        elif name in counts:
            if type(given) is not int or given < 0:
                raise ValueError(f"{name}: {given!r} is no count; accepted: a whole number from 0")
        elif type(given) is not bool:
            raise ValueError(f"{name}: {given!r} is no switch; accepted: true or false")


def _object(body: Any) -> Mapping[str, Any]:
    if not isinstance(body, Mapping):
        raise ValueError("body: not an object; accepted: a JSON object")  # noqa: TRY004 - answered with 400
    return body
