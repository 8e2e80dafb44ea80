"""AWS event-stream framing, in which Bedrock sends its streams.

A frame: total length, header length, CRC-32 of those eight bytes, headers, payload, CRC-32 of
everything before. Big endian.
Source: https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html
"""

import base64
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_STRING: Final = 7
_PRELUDE: Final = struct.Struct(">II")
_CRC: Final = struct.Struct(">I")
_OVERHEAD: Final = _PRELUDE.size + 2 * _CRC.size


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame; header values are strings."""

    headers: dict[str, str]
    payload: bytes


def _header(name: str, value: str) -> bytes:
    name_bytes, value_bytes = name.encode(), value.encode()
    head = struct.pack(">B", len(name_bytes)) + name_bytes
    return head + struct.pack(">BH", _STRING, len(value_bytes)) + value_bytes


def frame(headers: bytes, payload: bytes) -> bytes:
    """Put encoded headers and a payload into one frame with both checksums."""
    prelude = _PRELUDE.pack(len(headers) + len(payload) + _OVERHEAD, len(headers))
    message = prelude + _CRC.pack(zlib.crc32(prelude)) + headers + payload
    return message + _CRC.pack(zlib.crc32(message))


_CHUNK_HEADERS: Final = (
    _header(":event-type", "chunk")
    + _header(":content-type", "application/json")
    + _header(":message-type", "event")
)


_EXCEPTIONS: Final = {
    "rate_limit_error": "throttlingException",
    "overloaded_error": "serviceUnavailableException",
    "invalid_request_error": "validationException",
    "timeout_error": "modelTimeoutException",
    "api_error": "internalServerException",
}


def encode(event_type: str, data: str) -> bytes:
    """One chunk frame that holds an event's JSON in base64; an error is an exception frame."""
    if event_type == "error":
        error = json.loads(data)["error"]
        kind = _EXCEPTIONS.get(error["type"], "modelStreamErrorException")
        return encode_exception(kind, error["message"])
    payload = b'{"bytes":"' + base64.b64encode(data.encode()) + b'"}'
    return frame(_CHUNK_HEADERS, payload)


def encode_exception(exception_type: str, message: str) -> bytes:
    """One exception frame, e.g. `throttlingException`."""
    headers = (
        _header(":exception-type", exception_type)
        + _header(":content-type", "application/json")
        + _header(":message-type", "exception")
    )
    return frame(headers, json.dumps({"message": message}).encode())


def decode(data: bytes) -> Iterator[Frame]:
    """Yield the frames of a complete body; raise ValueError at a wrong length or checksum."""
    while data:
        total, header_length = _PRELUDE.unpack_from(data)
        if total > len(data):
            raise ValueError(f"frame of {total} bytes in {len(data)}")
        _check(data[:8], data[8:12])
        _check(data[: total - 4], data[total - 4 : total])
        headers = _decode_headers(data[12 : 12 + header_length])
        yield Frame(headers, data[12 + header_length : total - 4])
        data = data[total:]


def _check(covered: bytes, checksum: bytes) -> None:
    if zlib.crc32(covered) != _CRC.unpack(checksum)[0]:
        raise ValueError("checksum mismatch")


def _decode_headers(data: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    while data:
        name_end = 1 + data[0]
        kind, length = struct.unpack_from(">BH", data, name_end)
        if kind != _STRING:
            raise ValueError(f"header type {kind} is not a string")
        value_end = name_end + 3 + length
        headers[data[1:name_end].decode()] = data[name_end + 3 : value_end].decode()
        data = data[value_end:]
    return headers
