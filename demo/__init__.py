"""A loopback fake of the Anthropic Messages API with a rule-driven model.

`FakeAnthropic` serves it inside this event loop; `python -m demo --port N` as a process of its own.
`!demo` lines tell the model what to do in the conversation: see README.md.
"""

from demo.recording import RecordedRequest
from demo.server import FakeAnthropic

__all__ = ["FakeAnthropic", "RecordedRequest"]
