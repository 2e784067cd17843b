"""The layers around the routes, spoken to as a server does, message by message."""

import asyncio
from typing import Any

from starlette.requests import HTTPConnection

from app.layers.clients import _counted
from app.layers.head import HeadMiddleware

ANSWER = [
    {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]},
    {"type": "http.response.body", "body": b"hel", "more_body": True},
    {"type": "http.response.body", "body": b"lo"},
]


async def answering(scope: Any, receive: Any, send: Any) -> None:
    scope["route"] = f"asked by {scope['method']}"
    for message in ANSWER:
        await send(message)


def messages_of(method: str) -> tuple[list[dict], dict]:
    """What an application behind the layer sends, and the scope as layers further out see it afterwards."""
    sent: list[dict] = []
    scope = {"type": "http", "method": method}

    async def send(message: dict) -> None:
        sent.append(message)

    asyncio.run(HeadMiddleware(answering)(scope, None, send))  # type: ignore[arg-type]
    return sent, scope


def test_a_head_is_answered_to_its_end_without_a_body() -> None:
    sent, scope = messages_of("HEAD")
    assert [message["type"] for message in sent] == [message["type"] for message in ANSWER]
    assert sent[0] == ANSWER[0]
    assert [(message["body"], message.get("more_body", False)) for message in sent[1:]] == [(b"", True), (b"", False)]
    assert (scope["method"], scope["route"]) == ("HEAD", "asked by GET")


def test_another_method_is_passed_on_as_it_is() -> None:
    sent, scope = messages_of("GET")
    assert sent == ANSWER
    assert scope["method"] == "GET"


def test_a_client_of_a_socket_without_addresses_is_unknown_and_not_a_crash() -> None:
    assert _counted(HTTPConnection({"type": "http", "headers": [], "client": None})) == "unknown"
