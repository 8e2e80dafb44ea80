"""A loopback fake of the Anthropic Messages API with a rule-driven model.

`FakeAnthropic` serves it inside this event loop; `python -m demo --port N` as a process of its own.
What the model does is told by `!demo` lines in the conversation: see README.md.
"""

from demo.recording import RecordedRequest
from demo.server import FakeAnthropic

__all__ = ["FakeAnthropic", "RecordedRequest"]
