"""A language model server on a real socket, for both vendors' protocols: it answers by a rule and fails as it is told."""

from tests.llm_server.asked import Asked, Kind, Vendor
from tests.llm_server.batches import Batch, Fate
from tests.llm_server.faults import FAULT_NAMES, Fault
from tests.llm_server.server import FATAL_KEY, LLMServer, llm_server

__all__ = [
    "FATAL_KEY",
    "FAULT_NAMES",
    "Asked",
    "Batch",
    "Fate",
    "Fault",
    "Kind",
    "LLMServer",
    "Vendor",
    "llm_server",
]
