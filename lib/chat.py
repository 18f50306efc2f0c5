"""Chat: messages become ids that no text can forge, and ids become messages again (chapter 12).

The layout is ChatML: <|im_start|>, the role, a line end, the content, <|im_end|>, a line end. A
message is a dictionary with "role" and "content", as in most programs that talk to models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from typing import NamedTuple

import torch

from lib.generation import Sampler, generate
from lib.model import GPT
from lib.tokenizer import Tokenizer, to_utf8

ROLES = ("system", "user", "assistant")
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"

# --- Special tokens ------------------------------------------------------------------------------


def add_special_tokens(tokenizer: Tokenizer, names: Sequence[str]) -> Tokenizer:
    """A tokenizer with more special tokens, behind all others: no id that was there changes.

    Raises ValueError for a name that is a token already.

    >>> from lib.tokenizer import train_tokenizer
    >>> add_special_tokens(train_tokenizer(["a b"], 257), ["<|im_start|>"]).special_tokens
    {'<|endoftext|>': 0, '<|im_start|>': 257}
    """
    taken = [name for name in names if to_utf8(name) in tokenizer.id_of]
    if isinstance(names, str) or taken or len(set(names)) < len(names):
        raise ValueError(
            f"the new special tokens are {names!r}; pass a list of different names that are no "
            f"token yet ({taken} are)"
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
    if isinstance(messages, (str, Mapping)) or not messages:
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
    """How messages are written as ids, and read back: ChatML.

    What is special is written as ids by the template alone; roles and contents are encoded as plain
    text, so a content that spells a special token remains a text. Raises ValueError for a tokenizer
    without the special tokens.
    """

    tokenizer: Tokenizer
    begin: str | None = None  # a special token before every conversation

    def __post_init__(self):
        needed = [TURN_START, TURN_END, *([self.begin] if self.begin else [])]
        missing = [name for name in needed if name not in self.tokenizer.special_tokens]
        if missing:
            raise ValueError(
                f"this tokenizer lacks the special tokens {missing}; add them with "
                "add_special_tokens, and rows for them with extend_vocabulary"
            )

    @cached_property
    def start_id(self) -> int:
        return self.tokenizer.special_tokens[TURN_START]

    @cached_property
    def end_id(self) -> int:
        return self.tokenizer.special_tokens[TURN_END]

    @cached_property
    def begin_ids(self) -> list[int]:
        return [self.tokenizer.special_tokens[self.begin]] if self.begin else []

    def opening(self, role: str) -> list[int]:
        """The ids that open a turn."""
        return [self.start_id, *self.tokenizer.encode(role + "\n")]

    def render(self, messages: Sequence[Mapping[str, str]]) -> Rendered:
        """A whole conversation, with its loss mask."""
        check_messages(messages)
        ids, mask = [*self.begin_ids], [False] * len(self.begin_ids)
        line_end = self.tokenizer.encode("\n")
        for message in messages:
            opening = self.opening(message["role"])
            said = [*self.tokenizer.encode(message["content"]), self.end_id]
            ids += opening + said + line_end
            learned = [message["role"] == "assistant"] * len(said)
            mask += [False] * len(opening) + learned + [False] * len(line_end)
        return Rendered(ids, mask)

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """The ids after which the assistant's next turn follows."""
        return self.render(messages).ids + self.opening("assistant")

    def parse(self, ids: Sequence[int]) -> list[dict[str, str]]:
        """The messages that `render` made these ids of; ValueError if it cannot have been so."""
        rest, messages = list(ids), []
        if rest[: len(self.begin_ids)] == self.begin_ids:
            rest = rest[len(self.begin_ids) :]
        line_end = self.tokenizer.encode("\n")
        while rest:
            turn, rest = self.first_turn(rest), rest[rest.index(self.end_id) + 1 :]
            messages.append(turn)
            if rest[: len(line_end)] != line_end:
                raise ValueError(
                    f"turn {len(messages)} is not followed by a line end; pass ids as `render` "
                    "makes them"
                )
            rest = rest[len(line_end) :]
        return messages

    def first_turn(self, ids: list[int]) -> dict[str, str]:
        """The message at the beginning of some ids; ValueError if no whole turn stands there."""
        if ids[0] != self.start_id or self.end_id not in ids:
            raise ValueError(
                f"no whole turn begins at {self.tokenizer.decode(ids[:8])!r}; one opens with "
                f"{TURN_START} and closes with {TURN_END}"
            )
        inside = ids[1 : ids.index(self.end_id)]
        role, _, content = self.tokenizer.decode(inside).partition("\n")
        if set(inside) & set(self.tokenizer.special_tokens.values()) or role not in ROLES:
            raise ValueError(
                f"the turn of {role!r} has an unknown role, or a special token inside; it was not "
                "made by `render`"
            )
        return {"role": role, "content": content}


# --- Talking -------------------------------------------------------------------------------------


@torch.no_grad()
def replies(
    model: GPT,
    template: ChatTemplate,
    conversations: Sequence[Sequence[Mapping[str, str]]],
    max_new_tokens: int = 256,
    sampler: Sampler = Sampler(temperature=0),
    generator: torch.Generator | None = None,
    batch_size: int = 50,
) -> list[str]:
    """What the assistant says next in each conversation, up to its end of turn.

    An answer also ends where the context is full. Those of similar length are read together.
    Raises ValueError for a conversation that fills the context already.
    """
    prompts = [template.prompt(messages) for messages in conversations]
    context_length, texts = model.config.context_length, [""] * len(prompts)
    for i, prompt in enumerate(prompts):
        if len(prompt) >= context_length:
            raise ValueError(
                f"conversation {i} has {len(prompt)} ids, and context_length is {context_length}; "
                "leave out its oldest messages"
            )
    special_ids = set(template.tokenizer.special_tokens.values())
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for first in range(0, len(order), batch_size):
        rows = order[first : first + batch_size]
        some = [prompts[i] for i in rows]
        room = min(max_new_tokens, context_length - max(map(len, some)))
        said = generate(model, some, room, sampler, template.end_id, generator)
        for i, ids in zip(rows, said, strict=True):
            ids = takewhile(lambda id: id not in special_ids, ids)
            texts[i] = template.tokenizer.decode(ids)
    return texts


class Chat:
    """A conversation that goes on: `say` a text, get the answer; `messages` holds all so far.

    When the context is full, the model is shown the newest messages that leave `room` ids for the
    answer, always with the system's.
    """

    def __init__(
        self,
        model: GPT,
        template: ChatTemplate,
        system: str | None = None,
        sampler: Sampler = Sampler(temperature=0),
        room: int = 64,
        generator: torch.Generator | None = None,
    ):
        self.model, self.template, self.sampler = model, template, sampler
        self.room, self.generator = room, generator
        self.messages = [{"role": "system", "content": system}] if system else []

    def window(self) -> list[dict[str, str]]:
        """The messages that the model is shown; ValueError if not even the last one fits."""
        limit = self.model.config.context_length - self.room
        first = [m for m in self.messages[:1] if m["role"] == "system"]
        rest = self.messages[len(first) :]
        while len(self.template.prompt(first + rest)) > limit:
            if len(rest) == 1:
                raise ValueError(
                    f"the last message leaves no {self.room} ids for an answer in a context of "
                    f"{self.model.config.context_length}; say it in fewer words"
                )
            rest = rest[2:]  # a question goes together with its answer
        return first + rest

    def say(self, text: str) -> str:
        """Add what the user says and what the assistant answers; return the answer."""
        self.messages.append({"role": "user", "content": text})
        try:
            shown = [self.window()]
        except ValueError:
            self.messages.pop()
            raise
        (answer,) = replies(
            self.model, self.template, shown, 10**6, self.sampler, self.generator
        )
        self.messages.append({"role": "assistant", "content": answer})
        return answer
