"""The chatbot client, as a library and as the `chat-client` command.

async with connect("ws://127.0.0.1:8000", client_id="anna", time_zone="Europe/Berlin") as chat:
    reply = await chat.ask(RequestKind.TEXT, "What time is it?".encode())
    print(reply.text)
"""

from chat_client.chat import Chat, connect
from chat_client.errors import ClientError, ConnectionLost, FileTrouble, Refused, Unreachable, WrongAnswer
from chat_client.history import Address, History, Media, Message, Session
from frameproto import RequestKind, Response, ResponseKind

__all__ = [
    "Address",
    "Chat",
    "ClientError",
    "ConnectionLost",
    "FileTrouble",
    "History",
    "Media",
    "Message",
    "Refused",
    "RequestKind",
    "Response",
    "ResponseKind",
    "Session",
    "Unreachable",
    "WrongAnswer",
    "connect",
]
