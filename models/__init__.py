"""Argosy's rows and their state machines, in PostgreSQL schema `argosy`."""

from models.act import Act
from models.agent import Agent, Role
from models.base import SCHEMA, Base
from models.bucket import Bucket
from models.chunk import DIGEST, Chunk, ChunkState
from models.continuation import Continuation
from models.dead_letter import DeadLetter
from models.derivative import Derivative, Making
from models.event import Event, Outcome
from models.grant import Access, Grant
from models.heartbeat import Heartbeat
from models.lane import Lane
from models.parcel import Parcel
from models.pin import Pin
from models.provenance import Provenance
from models.round import Round
from models.transfer import ENDED, FILES, STORES, TRANSITIONS, Kind, Priority, State, Transfer

__all__ = [
    "DIGEST",
    "ENDED",
    "FILES",
    "SCHEMA",
    "STORES",
    "TRANSITIONS",
    "Access",
    "Act",
    "Agent",
    "Base",
    "Bucket",
    "Chunk",
    "ChunkState",
    "Continuation",
    "DeadLetter",
    "Derivative",
    "Event",
    "Grant",
    "Heartbeat",
    "Kind",
    "Lane",
    "Making",
    "Outcome",
    "Parcel",
    "Pin",
    "Priority",
    "Provenance",
    "Role",
    "Round",
    "State",
    "Transfer",
]
