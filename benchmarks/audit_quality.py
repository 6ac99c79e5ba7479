"""How many contaminated documents the audit finds, and how many clean ones it takes for such.

    python benchmarks/audit_quality.py --out results/benchmarks/audit-quality.json

Items of three benchmarks (question and right answer) are put between two sentences of clean passages (of
BoolQ, from Wikipedia), in each of these ways:
    whole        word for word
    first half   of the words
    60% of it    a random stretch of the words
    restyled     another case for each word, other punctuation, hyphens, white space
    reordered    its clauses the other way round (its halves, if it has one clause)
    short        word for word, items of 12 words at most
    alone        word for word, without the passage
Searched for are all texts of the benchmarks, for each n, with and without the filter for n-grams that more
than 0.1% of other clean passages have. Recall: share of the contaminated documents that are found. False
positives: share of the clean ones; what these share may be a real quotation, which is not looked into.
Precision is for as many clean documents as contaminated ones: recall / (recall + false positives). Intervals
are Wilson's, 95%.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from resurface import benchmarks, progress
from resurface.artifacts import provenance
from resurface.benchmarks.audit_index import BenchmarkIndex, KnownTexts
from resurface.data.ngrams import Vocabulary
from resurface.data.words import normalise, utf8
from resurface.stages.auditing import AuditConfig

BENCHMARKS = ("asset:arc_easy", "asset:piqa", "asset:gsm8k")
SHORT = 12  # words


def main() -> None:
    args = arguments()
    progress.set_quiet(True)
    rng = random.Random(args.seed)
    items = [text for name in BENCHMARKS for text in questions(name)]
    passages = sorted(set(clean_passages()))
    rng.shuffle(passages)
    clean, used, other = passages[:1000], passages[1000:2000], passages[2000:]
    documents = {kind: contaminated(kind, items, used, args.documents, rng) for kind in KINDS}
    share = AuditConfig.model_fields["max_document_frequency"].default
    found = []
    for n in args.ngrams:
        vocabulary = Vocabulary()
        index = BenchmarkIndex([KnownTexts.load(name, vocabulary) for name in BENCHMARKS], vocabulary, n)
        for filtered in (False, True):
            if filtered:
                index.ignore_common(other, share)
            wrong = rate(index, clean)
            kinds = {kind: scored(rate(index, texts), wrong) for kind, texts in documents.items()}
            found.append(
                {
                    "ngram": n,
                    "filtered": filtered,
                    "common_ngrams": int(index.common.sum()),
                    "false_positives": wrong,
                    "kinds": kinds,
                }
            )
            cells = "".join(f"  {kind} {s['recall']['value']:.2f}" for kind, s in kinds.items())
            print(f"n = {n:<3}{'filtered' if filtered else '':<9} clean {wrong['value']:.3f}{cells}")
    result = {
        "benchmarks": BENCHMARKS,
        "items": len(items),
        "clean": len(clean),
        "documents_per_kind": args.documents,
        "filter": {"documents": len(other), "max_document_frequency": share},
        "seed": args.seed,
        "results": found,
        "command": ["python", "benchmarks/audit_quality.py", *sys.argv[1:]],
        "provenance": provenance.collect().without_command().as_json(),
    }
    if args.out:
        Path(args.out).write_text(json.dumps(result, indent=1) + "\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--ngrams", type=int, nargs="+", default=[5, 8, 13])
    parser.add_argument("--documents", type=int, default=500, help="contaminated documents of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out")
    return parser.parse_args()


def questions(name: str) -> list[str]:
    """Question and right answer of every item that is scored."""
    task = benchmarks.load_tasks(name)[name]
    if name == "asset:gsm8k":
        return [doc["question"] for doc in task.eval_docs]
    asked = {"asset:arc_easy": "question", "asset:piqa": "goal"}[name]
    return [f"{doc[asked]} {task.doc_to_choice(doc)[task.doc_to_target(doc)]}" for doc in task.eval_docs]


def clean_passages() -> list[str]:
    task = benchmarks.load_tasks("asset:boolq")["asset:boolq"]
    return [doc["passage"] for doc in task.eval_docs]


def contaminated(
    kind: str, items: Sequence[str], passages: Sequence[str], count: int, rng: random.Random
) -> list[str]:
    """`count` documents with an item each, changed as `kind` says."""
    fitting = [i for i in items if (len(normalise(i)) <= SHORT) == (kind == "short")]
    changed = [KINDS[kind](item, rng) for item in rng.sample(fitting, count)]
    return changed if kind == "alone" else [embedded(c, rng.choice(passages), rng) for c in changed]


def embedded(item: str, passage: str, rng: random.Random) -> str:
    """The item between two sentences of a passage, or behind its only one."""
    sentences = re.split(r"(?<=[.!?])\s+", passage)
    at = rng.randrange(1, len(sentences)) if len(sentences) > 1 else 1
    return " ".join([*sentences[:at], item, *sentences[at:]])


def whole(item: str, rng: random.Random) -> str:
    return item


def first_half(item: str, rng: random.Random) -> str:
    every = item.split()
    return " ".join(every[: (len(every) + 1) // 2])


def stretch(item: str, rng: random.Random) -> str:
    every = item.split()
    size = max(1, round(0.6 * len(every)))
    first = rng.randrange(len(every) - size + 1)
    return " ".join(every[first : first + size])


def restyled(item: str, rng: random.Random) -> str:
    changed = []
    for word in re.sub(r"[.,;:?!\"“”]", "", item).split():
        word = rng.choice([word, word.upper(), word.lower(), word.title()])
        changed.append(rng.choice(["{}", "{}", "{},", "“{}”", "*{}*", "{} –", "({})"]).format(word))
    return rng.choice([" ", "  ", "\n", "\u00a0"]).join(changed)


def reordered(item: str, rng: random.Random) -> str:
    clauses = [c for c in re.split(r"(?<=[.,;:?!])\s+", item) if c.strip()]
    if len(clauses) < 2:
        every = item.split()
        clauses = [" ".join(every[len(every) // 2 :]), " ".join(every[: len(every) // 2])]
        return " ".join(clauses)
    return " ".join(reversed(clauses))


KINDS: dict[str, Callable[[str, random.Random], str]] = {
    "whole": whole,
    "first half": first_half,
    "60% of it": stretch,
    "restyled": restyled,
    "reordered": reordered,
    "short": whole,
    "alone": whole,
}


def rate(index: BenchmarkIndex, documents: Sequence[str]) -> dict[str, Any]:
    """Share of documents that match, with its 95% interval."""
    matches, _ = index.search(map(utf8, documents))
    hit, n = len({m.text for m in matches}), len(documents)
    interval = binomtest(hit, n).proportion_ci(method="wilson")
    return {"value": hit / n, "low": interval.low, "high": interval.high, "n": n}


def scored(recall: dict[str, Any], wrong: dict[str, Any]) -> dict[str, Any]:
    every = recall["value"] + wrong["value"]
    return {"recall": recall, "precision": recall["value"] / every if every else None}


if __name__ == "__main__":
    main()
