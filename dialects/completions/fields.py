"""Every field of a legacy completion and what becomes of it.

Source of the fields: https://platform.openai.com/docs/api-reference/completions/create.
"""

from __future__ import annotations

from dialects.chat.fields import ChatField

FIELDS = (
    ChatField(
        "model",
        "native",
        "As in chat: Claude's ids and aliases, other names through MODEL_ALIASES.",
    ),
    ChatField(
        "prompt",
        "native",
        "A text, or up to 20: each is a user's message. Arrays of tokens are a 400.",
    ),
    ChatField("stream", "native", "Server-sent events, each piece the moment Claude writes it."),
    ChatField("stream_options", "native", "`include_usage` gives the usage chunk."),
    ChatField(
        "max_tokens",
        "native",
        "`max_tokens`; absent it is the model's own limit, where OpenAI stops after 16.",
    ),
    ChatField(
        "temperature",
        "native",
        "0 to 1 as it is; above 1 it is 1 and reported as ignored. Models that refuse it get the "
        "request without it, which is reported too.",
    ),
    ChatField("top_p", "native", "As it is, or without where the model refuses it."),
    ChatField("stop", "native", "`stop_sequences`; up to 4."),
    ChatField("n", "emulated", "Up to 10 turns at the same time for each prompt, 20 in all.", (1,)),
    ChatField(
        "best_of",
        "ignored",
        "Claude gives no token probabilities to choose by: `n` answers are made and all returned. "
        "Less than `n` is a 400.",
        (0, 1),
    ),
    ChatField("echo", "emulated", "The prompt stands before its answer.", (False,)),
    ChatField("seed", "emulated", "As in chat: the recorded answer again; for one prompt only."),
    ChatField("suffix", "refused", "Claude does not fill in before a given end."),
    ChatField("logprobs", "refused", "Claude gives no token probabilities.", (False,)),
    ChatField("logit_bias", "ignored", "Claude's tokens cannot be weighted.", ({},)),
    ChatField("presence_penalty", "ignored", "Claude has no such parameter.", (0,)),
    ChatField("frequency_penalty", "ignored", "Claude has no such parameter.", (0,)),
    ChatField("user", "accepted", "Only names the end user."),
)

NEUTRAL = {row.name: row.neutral for row in FIELDS if row.neutral}
TAKEN = frozenset(row.name for row in FIELDS if row.treatment != "ignored")
