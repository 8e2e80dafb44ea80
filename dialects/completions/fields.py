"""Every field of a legacy completion and what becomes of it.

Source of the fields: https://platform.openai.com/docs/api-reference/completions/create.
"""

from __future__ import annotations

from dialects.field_table import FieldRow, FieldTable

FIELDS = (
    FieldRow(
        "model",
        "native",
        "As in chat: Claude's ids and aliases, other names through MODEL_ALIASES.",
    ),
    FieldRow(
        "prompt",
        "native",
        "A text, or up to 20: each is a user's message. Arrays of tokens are a 400.",
    ),
    FieldRow("stream", "native", "Server-sent events, each piece the moment Claude writes it."),
    FieldRow("stream_options", "native", "`include_usage` gives the usage chunk."),
    FieldRow(
        "max_tokens",
        "native",
        "`max_tokens`; absent it is the model's own limit, where OpenAI stops after 16.",
    ),
    FieldRow(
        "temperature",
        "native",
        "0 to 1 as it is; above 1 it is 1 and reported as ignored. Models that refuse it get the "
        "request without it, which is reported too.",
    ),
    FieldRow("top_p", "native", "As it is, or without where the model refuses it."),
    FieldRow("stop", "native", "`stop_sequences`; up to 4."),
    FieldRow("n", "emulated", "Up to 10 turns at the same time for each prompt, 20 in all.", (1,)),
    FieldRow(
        "best_of",
        "ignored",
        "Claude gives no token probabilities to choose by: `n` answers are made and all returned. "
        "Less than `n` is a 400.",
        (0, 1),
    ),
    FieldRow("echo", "emulated", "The prompt stands before its answer.", (False,)),
    FieldRow("seed", "emulated", "As in chat: the recorded answer again; for one prompt only."),
    FieldRow("suffix", "refused", "Claude does not fill in before a given end."),
    FieldRow("logprobs", "refused", "Claude gives no token probabilities.", (False,)),
    FieldRow("logit_bias", "ignored", "Claude's tokens cannot be weighted.", ({},)),
    FieldRow("presence_penalty", "ignored", "Claude has no such parameter.", (0,)),
    FieldRow("frequency_penalty", "ignored", "Claude has no such parameter.", (0,)),
    FieldRow("user", "accepted", "Only names the end user."),
)

INSIDE = (
    FieldRow("text", "native", "One text block, unchanged."),
    FieldRow("arrays of tokens", "refused", "Claude has other tokens: send text."),
)
ANY_OTHER = FieldRow("any other field", "ignored", "It is no field of the API known here.")
TABLE = FieldTable(FIELDS, INSIDE, ANY_OTHER, part="prompt")
