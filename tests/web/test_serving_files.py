"""The files of the page over HTTP: under which rules they come, and to whom."""

from __future__ import annotations

import re

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from converter.api.dashboard.routes import STATIC, dashboard_routes
from converter.api.problems import speak_problems

FILES = sorted(path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = FastAPI()
    speak_problems(app)
    app.include_router(dashboard_routes({"127.0.0.1", "pool.example"}))
    return TestClient(app, base_url="http://127.0.0.1:8080")


def test_the_page_may_run_and_ask_nothing_but_its_own_server(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    rules = dict(one.split(" ", 1) for one in answer.headers["content-security-policy"].split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["frame-ancestors"] == rules["form-action"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["img-src"] == "'self' data:"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


def test_nothing_stands_inline_in_the_page(client: TestClient) -> None:
    page = client.get("/").text
    assert re.findall(r"<style|\sstyle=|\son\w+=|<script(?![^>]* src=)", page) == []


@pytest.mark.parametrize("name", FILES)
def test_every_file_comes_with_its_type_and_is_asked_for_again_only_when_it_changed(
    client: TestClient, name: str
) -> None:
    first = client.get(f"/static/{name}")
    assert (first.status_code, first.headers["cache-control"]) == (200, "no-cache")
    kinds = {"css": "text/css", "html": "text/html", "js": "text/javascript", "svg": "image/svg+xml"}
    assert first.headers["content-type"].startswith(kinds[name.rpartition(".")[2]])
    again = client.get(f"/static/{name}", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    changed = client.get(f"/static/{name}", headers={"If-None-Match": '"other"'})
    assert changed.content == first.content


def test_every_file_that_the_page_names_is_there(client: TestClient) -> None:
    texts = {name: (STATIC / name).read_text(encoding="utf-8") for name in FILES}
    named = set(re.findall(r'"/static/([^"]+)"', texts["index.html"]))
    for name, text in texts.items():
        folder = name.rpartition("/")[0]
        for target in re.findall(r'from "(\.[^"]+)"', text):
            parts = [*folder.split("/"), *target.split("/")] if folder else target.split("/")
            path: list[str] = []
            for part in parts:
                path = path[:-1] if part == ".." else path if part == "." else [*path, part]
            named.add("/".join(path))
    assert named <= set(FILES)
    assert set(FILES) - named <= {"index.html"}


@pytest.mark.parametrize("path", ["/static/", "/static/nothing.js", "/static/../routes.py", "/static/%2e%2e/routes.py"])
def test_there_is_nothing_but_the_files_of_the_page(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(("host", "status"), [("pool.example", 200), ("evil.example", 404), ("10.0.0.1:8080", 404)])
@pytest.mark.parametrize("path", ["/", "/static/main.js"])
def test_the_page_is_served_only_under_the_servers_own_names(
    client: TestClient, path: str, host: str, status: int
) -> None:
    assert client.get(path, headers={"Host": host}).status_code == status
    assert client.head(path, headers={"Host": host}).status_code == status


def test_no_data_is_ever_made_into_markup() -> None:
    markup = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
    for name in FILES:
        text = (STATIC / name).read_text(encoding="utf-8")
        assert re.findall(markup, text) == [], name
