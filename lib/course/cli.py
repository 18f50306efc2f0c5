"""Every verb of `course.py` that needs the course's own environment."""

import importlib
import sys

VERBS = {
    "fetch": ("lib.course.corpora", "fetch_main", "download the corpora ahead of time"),
    "corpora": ("lib.course.corpora", "corpora_main", "licence, source and size of each corpus"),
    "stories": ("lib.course.storyworld.files", "main", "stories of the story world, or a corpus"),
    "progress": ("lib.course.progress", "main", "the exercises done, wrong and open"),
    "device": ("lib.course.device", "main", "test this machine and its accelerator"),
    "promote": ("lib.course.promotion", "main", "make marked cells equal to lib (or --check)"),
    "run": ("lib.course.notebooks", "main", "execute notebooks in place (or --check)"),
    "budget": ("lib.course.budget", "main", "measure minutes and memory of each chapter"),
    "constraints": ("lib.course.constraints", "main", "renew the exact versions"),
}


def usage() -> str:
    """The verbs, a line each."""
    return "\n".join(f"  {verb:12} {purpose}" for verb, (_, _, purpose) in VERBS.items())


def main(argv: list[str]) -> int:
    """Hand the verb's arguments to its module; return the exit status."""
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: python course.py VERB …\n{usage()}")
        return 0
    if argv[0] not in VERBS:
        print(f"course.py: there is no verb {argv[0]!r}; the verbs are\n{usage()}", file=sys.stderr)
        return 2
    module, function, _ = VERBS[argv[0]]
    return getattr(importlib.import_module(module), function)(argv[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
