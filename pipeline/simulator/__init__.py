"""A scripted endpoint over real HTTP, with faults and a ledger of requests and charges.

It imports nothing else of this program, so it cannot have the same bugs.
"""

from pipeline.simulator.chat_request import prompt_digest
from pipeline.simulator.faults import FAULTS
from pipeline.simulator.ledger import Exchange, read_ledger
from pipeline.simulator.server import Simulator, serve
from pipeline.simulator.service import Settings

__all__ = ["FAULTS", "Exchange", "Settings", "Simulator", "prompt_digest", "read_ledger", "serve"]
