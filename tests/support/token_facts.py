"""Texts and how many tokens they are, by the last tokenizer that Anthropic published (Claude 2's,
in version 0.38 of the `anthropic` package)."""
# ruff: noqa: RUF001  # Chinese and Russian look like that

from __future__ import annotations

ENGLISH = """The lighthouse keeper had counted ships for thirty-one years, and he had never been
wrong by more than two. On the morning of the storm he counted eleven going out and only seven
coming back. He wrote both numbers into the book, underlined the second, and went to wake his
daughter. Nobody in the village believed him at first, because the sea lay flat and silver as a
plate; by noon the first planks had washed ashore, and by evening every man who could row was out
beyond the reef.
"""
PYTHON = '''def merge(intervals: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Joins those that overlap."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(intervals):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


class Account:
    def __init__(self, owner: str, balance: float = 0.0) -> None:
        self.owner = owner
        self._balance = balance

    def withdraw(self, amount: float) -> None:
        if amount > self._balance:
            raise ValueError(f"{self.owner} has only {self._balance:.2f}")
        self._balance -= amount
'''
JSON = (
    '{"id":"ord_10293","customer":{"name":"Ada Lovelace","email":"ada@example.org"},"items":'
    '[{"sku":"A-100","quantity":2,"price":19.99},{"sku":"B-205","quantity":1,"price":5.5}],'
    '"shipping":{"method":"express","address":{"street":"12 High Street","city":"London"}},'
    '"paid":true,"coupon":null,"created_at":"2026-11-25T10:15:00Z"}'
)
CHINESE = (
    "春天到了,花园里的花都开了。孩子们在草地上跑来跑去,老人坐在树下喝茶聊天。"
    "今天的天气非常好,没有风,也没有云,大家都觉得很高兴。晚上我们打算一起去看电影,"
    "然后在附近的饭馆吃饭。明天还要上班,所以不能太晚回家。"
)
GERMAN = (
    "Der Leuchtturmwärter zählte seit einunddreißig Jahren die Schiffe und hatte sich nie um mehr "
    "als zwei geirrt. Am Morgen des Sturms zählte er elf, die hinausfuhren, und nur sieben, die "
    "zurückkehrten. Er schrieb beide Zahlen in das Buch und weckte seine Tochter."
)
RUSSIAN = (
    "Смотритель маяка считал корабли тридцать один год и ни разу не ошибся больше чем на два. "
    "В утро бури он насчитал одиннадцать уходящих и только семь вернувшихся. Он записал оба числа "
    "в книгу и пошёл будить дочь."
)
NUMBERS = "\n".join(
    f"2026-11-{day:02d}T08:00:00Z,{day * 137.25:.2f},{day * 104729}" for day in range(1, 20)
)

SAMPLES = {
    "english": (ENGLISH, 113),
    "python": (PYTHON, 190),
    "json": (JSON, 106),
    "chinese": (CHINESE, 117),
    "german": (GERMAN, 87),
    "russian": (RUSSIAN, 109),
    "numbers": (NUMBERS, 423),
}
