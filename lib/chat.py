"""Chat: messages become ids that no text can forge, and ids become messages again (chapter 12).

The layout is ChatML: <|im_start|>, the role, a line end, the content, <|im_end|>, a line end. A
message is a dictionary with "role" and "content", as in most programs that talk to models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

import torch

from lib.generation import Sampler, check_count, generate
from lib.model import GPT
from lib.tokenizer import Tokenizer, to_utf8

ROLES = ("system", "user", "assistant")
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"
GREEDY = Sampler(temperature=0)

# --- Special tokens ------------------------------------------------------------------------------


def add_special_tokens(tokenizer: Tokenizer, names: Sequence[str]) -> Tokenizer:
    """A tokenizer with more special tokens, behind all others: no id that was there changes.

    Raises ValueError for a name that is a token already, and for one that is no text.

    >>> from lib.tokenizer import train_tokenizer
    >>> add_special_tokens(train_tokenizer(["a b"], 257), ["<|im_start|>"]).special_tokens
    {'<|endoftext|>': 0, '<|im_start|>': 257}
    """
    texts = not isinstance(names, str) and all(isinstance(name, str) and name for name in names)
    taken = [name for name in names if to_utf8(name) in tokenizer.id_of] if texts else []
    if not texts or taken or len(set(names)) < len(names):
        raise ValueError(
            f"the new special tokens are {names!r}; pass a list of different names that are no "
            "token yet" + (f", as {taken[0]!r} is" if taken else "")
        )
    tokens = [*tokenizer.tokens, *map(to_utf8, names)]
    return Tokenizer(tokens, tokenizer.merges, [*tokenizer.special_tokens, *names])


# --- The template --------------------------------------------------------------------------------


class Rendered(NamedTuple):
    """A text as ids, and which of them are to be learned."""

    ids: list[int]
    mask: list[bool]  # True for what the assistant says, and for the end of its turn


def check_messages(messages: Sequence[Mapping[str, str]]) -> None:
    """Refuse what is no list of messages with a known role and a text."""
    if isinstance(messages, str) or not isinstance(messages, Sequence) or not messages:
        raise ValueError(
            'messages must be a list that is not empty; pass [{"role": "user", "content": text}]'
        )
    for i, message in enumerate(messages):
        if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
            raise ValueError(f'message {i} is {message!r}; pass a dict with "role" and "content"')
        if message["role"] not in ROLES or not isinstance(message["content"], str):
            raise ValueError(
                f"message {i} has the role {message['role']!r} and a content of type "
                f"{type(message['content']).__name__}; roles are {', '.join(ROLES)}, and a content "
                "is text"
            )


@dataclass(frozen=True)
class ChatTemplate:
    """How messages are written as ids: ChatML.

    What is special is written as ids by the template alone; roles and contents are encoded as plain
    text, so a content that spells a special token remains a text. Raises ValueError for a tokenizer
    without the special tokens.
    """

    tokenizer: Tokenizer
    begin: str | None = None  # a special token before every conversation

    def __post_init__(self):
        needed = [TURN_START, TURN_END, *([self.begin] if self.begin else [])]
        if missing := [name for name in needed if name not in self.tokenizer.special_tokens]:
            raise ValueError(
                f"this tokenizer lacks the special tokens {missing}; add them with "
                "add_special_tokens, and rows for them with extend_vocabulary"
            )

    def special(self, *names: str | None) -> list[int]:
        """The ids of special tokens; None has no id."""
        return [self.tokenizer.special_tokens[name] for name in names if name]

    def opening(self, role: str) -> list[int]:
        """The ids that open a turn."""
        return self.special(TURN_START) + self.tokenizer.encode(role + "\n")

    def render(self, messages: Sequence[Mapping[str, str]]) -> Rendered:
        """A whole conversation, with its loss mask."""
        check_messages(messages)
        pieces = [(self.special(self.begin), False)]
        for message in messages:
            said = self.tokenizer.encode(message["content"]) + self.special(TURN_END)
            pieces.append((self.opening(message["role"]), False))
            pieces.append((said, message["role"] == "assistant"))
            pieces.append((self.tokenizer.encode("\n"), False))
        ids = [i for piece, _ in pieces for i in piece]
        return Rendered(ids, [learned for piece, learned in pieces for _ in piece])

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """The ids after which the assistant's next turn follows."""
        return self.render(messages).ids + self.opening("assistant")


def first_turn(template: ChatTemplate, ids: list[int]) -> tuple[dict[str, str], list[int]]:
    """The message at the beginning of some ids, and the ids behind it.

    ValueError if no whole turn stands there, as `ChatTemplate.render` writes it.
    """
    start_id, end_id = template.special(TURN_START, TURN_END)
    line_end = template.tokenizer.encode("\n")
    if ids[:1] != [start_id] or end_id not in ids:
        raise ValueError(
            f"no whole turn begins at {template.tokenizer.decode(ids[:8])!r}; one opens with "
            f"{TURN_START} and closes with {TURN_END}"
        )
    n = ids.index(end_id)
    openings = {role: template.opening(role) for role in ROLES}
    role = next((role for role in ROLES if ids[: len(openings[role])] == openings[role]), None)
    inside = set(ids[1:n]) & set(template.tokenizer.special_tokens.values())
    if inside or role is None or ids[n + 1 : n + 1 + len(line_end)] != line_end:
        raise ValueError(
            f"the turn {template.tokenizer.decode(ids[: n + 1])!r} has an unknown role, a special "
            "token inside, or no line end behind its role or its end; pass ids as "
            "ChatTemplate.render makes them"
        )
    content = template.tokenizer.decode(ids[len(openings[role]) : n])
    return {"role": role, "content": content}, ids[n + 1 + len(line_end) :]


def parse(template: ChatTemplate, ids: Sequence[int]) -> list[dict[str, str]]:
    """The messages that these ids hold; ValueError if they are not whole turns of the template.

    A content may be cut into ids in another way than `encode` does it, as a model may.
    """
    begin, rest, messages = template.special(template.begin), list(map(int, ids)), []
    if rest[: len(begin)] != begin:
        raise ValueError(f"the ids do not begin with {template.begin}; pass a whole conversation")
    rest = rest[len(begin) :]
    while rest or not messages:
        message, rest = first_turn(template, rest)
        messages.append(message)
    return messages


# --- Talking -------------------------------------------------------------------------------------


def similar(lengths: Sequence[int], batch_size: int, spread: int = 32) -> list[list[int]]:
    """Share out things on batches of similar lengths, none `spread` longer than the shortest.

    Returns the numbers of the things; the shortest of a batch comes first. Raises ValueError for a
    batch_size below 1.

    >>> similar([50, 10, 12, 11], batch_size=2)
    [[1, 3], [2], [0]]
    """
    check_count("batch_size", batch_size, 1, "so many prompts are read at once")
    batches = []
    for i in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        full = not batches or len(batches[-1]) == batch_size
        if full or lengths[i] >= lengths[batches[-1][0]] + spread:
            batches.append([])
        batches[-1].append(i)
    return batches


@torch.no_grad()
def replies(
    model: GPT,
    template: ChatTemplate,
    conversations: Sequence[Sequence[Mapping[str, str]]],
    max_new_tokens: int = 256,
    sampler: Sampler = GREEDY,
    generator: torch.Generator | None = None,
    batch_size: int = 50,
) -> list[str]:
    """What the assistant says next in each conversation, up to its end of turn.

    An answer also ends where its own context is full. Prompts of similar length are read together.
    Raises ValueError for a conversation that fills the context already.
    """
    if any(isinstance(messages, Mapping) for messages in conversations):
        raise ValueError("these are the messages of one conversation; pass a list of such lists")
    prompts = [template.prompt(messages) for messages in conversations]
    context_length, texts = model.config.context_length, [""] * len(prompts)
    for i, prompt in enumerate(prompts):
        if len(prompt) >= context_length:
            raise ValueError(
                f"conversation {i} has {len(prompt)} ids, and context_length is {context_length}; "
                "leave out its oldest messages"
            )
    special_ids = set(template.tokenizer.special_tokens.values())
    [end_id] = template.special(TURN_END)
    for rows in similar([len(prompt) for prompt in prompts], batch_size):
        some = [prompts[i] for i in rows]
        room = min(max_new_tokens, context_length - len(some[0]))  # of the shortest
        said = generate(model, some, room, sampler, end_id, generator)
        for i, ids in zip(rows, said, strict=True):
            own = ids[: context_length - len(prompts[i])]
            kept = takewhile(lambda id: id not in special_ids, own)
            texts[i] = template.tokenizer.decode(kept)
    return texts


class Chat:
    """A conversation that goes on: `say` a text, get the answer; `messages` holds all so far.

    When the context is full, the model is shown the system's message and the newest others that
    leave `room` ids for the answer. ValueError for a text, or a `room`, that does not fit.
    """

    def __init__(
        self,
        model: GPT,
        template: ChatTemplate,
        system: str | None = None,
        sampler: Sampler = GREEDY,
        room: int = 64,
        generator: torch.Generator | None = None,
    ):
        n = model.config.context_length
        if not 0 < room < n:
            raise ValueError(f"room is {room}; choose 1 or more, fewer than the {n} of the context")
        self.model, self.template, self.sampler = model, template, sampler
        self.room, self.generator = room, generator
        self.messages = [{"role": "system", "content": system}] if system else []

    def window(self, messages: list[dict[str, str]]) -> list[dict[str, str]]:
        """The messages that the model is shown."""
        limit = self.model.config.context_length - self.room
        n = int(messages[0]["role"] == "system")
        first, rest = messages[:n], messages[n:]
        while len(self.template.prompt(first + rest)) > limit:
            if len(rest) == 1:
                raise ValueError(
                    f"the text leaves no {self.room} of {self.room + limit} ids for an answer; say "
                    "it in fewer words, or shorten the system's message"
                )
            rest = rest[2:] if rest[1]["role"] == "assistant" else rest[1:]  # with its answer
        return first + rest

    def say(self, text: str) -> str:
        """Add what the user says and what the assistant answers; return the answer."""
        messages = [*self.messages, {"role": "user", "content": text}]
        shown, sampler = [self.window(messages)], self.sampler
        [answer] = replies(self.model, self.template, shown, 10**6, sampler, self.generator)
        self.messages = [*messages, {"role": "assistant", "content": answer}]
        return answer
