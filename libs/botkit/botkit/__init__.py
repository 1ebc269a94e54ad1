"""What a bot for the chatbot server is made of: a turn that it is told, a memory, and a reply.

A bot is anything with a method `reply(turn, memory)`. docs/bots.md builds one in twenty lines.
"""

from botkit.errors import BotError, BotNotFound
from botkit.loading import load_bot
from botkit.memory import Memory, Said, Speaker
from botkit.responder import Reply, Responder, pieces, whole
from botkit.turn import AudioInfo, Transcript, Turn, VideoInfo
from frameproto import RequestKind

__all__ = [
    "AudioInfo",
    "BotError",
    "BotNotFound",
    "Memory",
    "Reply",
    "RequestKind",
    "Responder",
    "Said",
    "Speaker",
    "Transcript",
    "Turn",
    "VideoInfo",
    "load_bot",
    "pieces",
    "whole",
]
