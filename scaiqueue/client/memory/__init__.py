"""A queue in memory, in place of HTTP, for the tests of programs that use the client."""

from scaiqueue.client.memory.queue import MemoryQueue

__all__ = ["MemoryQueue"]
