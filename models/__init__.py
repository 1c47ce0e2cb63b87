"""Argosy's rows and their state machines, in PostgreSQL schema `argosy`."""

from models.agent import Agent, Role
from models.base import SCHEMA, Base
from models.chunk import DIGEST, Chunk, ChunkState
from models.continuation import Continuation
from models.derivative import Derivative
from models.event import Event
from models.transfer import ENDED, TRANSITIONS, Kind, State, Transfer

__all__ = [
    "DIGEST",
    "ENDED",
    "SCHEMA",
    "TRANSITIONS",
    "Agent",
    "Base",
    "Chunk",
    "ChunkState",
    "Continuation",
    "Derivative",
    "Event",
    "Kind",
    "Role",
    "State",
    "Transfer",
]
