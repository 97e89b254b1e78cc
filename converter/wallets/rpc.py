"""JSON-RPC over HTTP, as the nodes of the chains speak it: a call that reads, and a call that broadcasts.

A node's own error is `NodeRefused`; what it means depends on the method and is left to the wallet. Nothing that an
error shows comes from the address of the node (some carry a key in it), the login or the parameters.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from converter.domain.errors import (
    AuthenticationFailed,
    ConfigurationError,
    OutcomeUnknown,
    ServiceError,
    ServiceUnavailable,
)
from converter.ports import Deadline
from converter.transport.http import AnswerLost, HttpAnswer, HttpClient, RequestNotSent

ANSWER_WITHIN = 10.0
"""Seconds to wait for the answer to a broadcast, once it has left."""

NO_METHOD = -32601


class NodeRefused(Exception):
    """A node answered with an error object. Whoever called knows what that proves."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        self.message = message[:200]
        super().__init__(f"{code} {self.message[:100]}")


class Node:
    """A node, shared by threads. `name` is how errors call it, `login` is `user:password` where it asks for one."""

    def __init__(self, name: str, url: str, login: str = "") -> None:
        parts = urlsplit(url)  # path and query are kept as they are
        try:
            self._http = HttpClient(f"{parts.scheme}://{parts.netloc}")
        except ValueError:
            raise ConfigurationError(f"rpcUrl of a wallet ({name}): accepted: http(s)://host[:port][/path]") from None
        self._name, self._path, self._query = name, parts.path or "/", parts.query
        self._headers = {"Content-Type": "application/json"}
        if login:
            self._headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()

    def read(self, method: str, params: list[Any], deadline: Deadline) -> Any:
        """The result of a method that moves no money. Raises NodeRefused, ServiceUnavailable, AuthenticationFailed."""
        try:
            answer = self._post(method, params, deadline, fresh=False)
        except (RequestNotSent, AnswerLost) as error:
            raise ServiceUnavailable(self._name, method, detail=error.cause_text) from error
        if answer.status in (401, 403):
            raise AuthenticationFailed(self._name, method, code=str(answer.status))
        return self._result(method, answer, ServiceUnavailable)

    def send(self, method: str, params: list[Any]) -> Any:
        """The result of a broadcast. Raises NodeRefused, ServiceUnavailable (nothing left us), OutcomeUnknown."""
        try:
            answer = self._post(method, params, Deadline.after(ANSWER_WITHIN), fresh=True)
        except RequestNotSent as error:
            raise ServiceUnavailable(self._name, method, detail=error.cause_text) from error
        except AnswerLost as error:
            raise OutcomeUnknown(self._name, method, detail=error.cause_text) from error
        return self._result(method, answer, OutcomeUnknown)

    @contextmanager
    def reading(self, method: str) -> Iterator[None]:
        """Turn an odd result of a read into ServiceUnavailable."""
        try:
            yield
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise ServiceUnavailable(self._name, method, detail="odd answer") from error

    def _post(self, method: str, params: list[Any], deadline: Deadline, *, fresh: bool) -> HttpAnswer:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        return self._http.send(
            "POST",
            self._path,
            params=self._query,
            deadline=deadline,
            headers=self._headers,
            body=body,
            fresh_connection=fresh,
        )

    def _result(self, method: str, answer: HttpAnswer, doubt: type[ServiceError]) -> Any:
        try:
            body = answer.json()
            if body.get("error") is None:
                return body["result"]
            code, message = body["error"].get("code", 0), str(body["error"]["message"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise doubt(self._name, method, code=str(answer.status)) from error
        raise NodeRefused(code if isinstance(code, int) else 0, message)
