"""Train Tale's tokenizer on the story world and write tale.json beside this file.

    python assets/tokenizers/make_tale.py

Chapter 03 shows the training and why there are 2,048 ids; it takes some seconds, and the result is
the same on every machine. A new version of the story world needs a new tokenizer.
"""

from pathlib import Path

from lib.course.storyworld import World
from lib.tokenizer import save_tokenizer, train_tokenizer

N_DOCUMENTS, VOCAB_SIZE = 8000, 2048


def main() -> None:
    documents = World().documents(N_DOCUMENTS, seed=0)
    tokenizer = train_tokenizer(documents, VOCAB_SIZE)
    path = Path(__file__).with_name("tale.json")
    save_tokenizer(tokenizer, path)
    print(f"{path.name}: {tokenizer}, hash {tokenizer.content_hash()[:8]}")


if __name__ == "__main__":
    main()
