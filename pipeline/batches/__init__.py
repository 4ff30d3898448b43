"""Buying by a provider's Files and Batches API: `BatchSender` is the loop, `Book` what it records."""

from pipeline.batches.api import BatchApi
from pipeline.batches.book import Book
from pipeline.batches.calls import Calls
from pipeline.batches.creation import Creation
from pipeline.batches.desk import Desk
from pipeline.batches.incoming import Incoming
from pipeline.batches.orders import Orders
from pipeline.batches.outgoing import Outgoing, Purchase
from pipeline.batches.sender import BatchSender

__all__ = ["BatchApi", "BatchSender", "Book", "Calls", "Creation", "Desk", "Incoming", "Orders", "Outgoing", "Purchase"]
