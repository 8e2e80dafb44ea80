"""A question about an image.

python examples/images.py [FILE.png|.jpg|.gif|.webp]
"""

from __future__ import annotations

import base64
import mimetypes
import sys
from pathlib import Path

import connection
from openai import OpenAI

RED_SQUARE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGP4z8CAFWEXHbQSACj/P8Fu7N9hAAAA"
    "AElFTkSuQmCC"
)


def data_url() -> str:
    """The file that is named, else a small red square. Addresses (https://…) work as well."""
    if len(sys.argv) < 2:
        kind, image = "image/png", RED_SQUARE
    else:
        kind, image = mimetypes.guess_type(sys.argv[1])[0] or "", Path(sys.argv[1]).read_bytes()
    return f"data:{kind};base64,{base64.b64encode(image).decode()}"


connection.check()
client = OpenAI(base_url=connection.BASE_URL, api_key=connection.API_KEY)

answer = client.chat.completions.create(
    model="sonnet",
    messages=[
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What do you see? One sentence."},
                {"type": "image_url", "image_url": {"url": data_url()}},
            ],
        }
    ],
)
print(answer.choices[0].message.content)
