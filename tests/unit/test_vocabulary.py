"""One word for one thing: the test fails if former identifiers and words are used again."""

import re
import subprocess
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

INSTEAD = {
    "Beginning": "ReplicaOrigin",
    "DataFolder": "DataDir",
    "FaultSwitch": "FaultControl",
    "FillingFailed": "RebuildFailed",
    "GivenUp": "AttemptsExhausted",
    "GrowthUnfinished": "ExpansionUnfinished",
    "HandOn": "HandOverTasks",
    "HandedOn": "ShuttingDown",
    "HostOfOthers": "HostOfOtherTenant",
    "Later": "Reschedule",
    "MEND_SECONDS": "REPAIR_SECONDS",
    "MadeMeanwhile": "ChangedByOtherAttempt",
    "Mortal": "RestartableEngine",
    "NoSignOfLife": "Stalled",
    "PASSING": "TRANSITIONAL",
    "PoolNumbers": "PoolCounts",
    "PoolNumbersCache": "PoolCountsCache",
    "ReplicaMove": "ReplicaRelocation",
    "ReplicaMoveAdmin": "ReplicaRelocationAdmin",
    "ReplicaShown": "ReplicaRow",
    "ReplicaWish": "PlacementConstraints",
    "RequestKey": "IdempotencyDigest",
    "Requested": "IdempotentMixin",
    "Shown": "VolumeAndReplicas",
    "Stray": "DriftItem",
    "StrayKind": "DriftKind",
    "Strays": "Drift",
    "TakenTurn": "HeldLease",
    "TooFewNodesTookIt": "TooFewNodesAccepted",
    "Turn": "JobLease",
    "TurnAdmin": "JobLeaseAdmin",
    "VolumeShown": "VolumeRow",
    "WAITS_FOR": "PENDING_REASON",
    "_drop_failed": "_mark_failed_deleting",
    "_end_growth": "_end_expansion",
    "_forget_snapshot": "_delete_snapshot_row",
    "_give_up_replicas": "_unplace_replicas",
    "_grow_again": "_expand_again",
    "_is_growth": "_is_expansion",
    "_passing": "_transitional",
    "_release_pieces": "_release_sub_volumes",
    "_waits_by_state": "_pending_by_state",
    "_waits_for": "_pending_reason",
    "_write_pieces": "_write_sub_volumes",
    "abandon_unfinished_replicas": "abort_unfinished_replicas",
    "abandon_unfinished_snapshots": "abort_unfinished_snapshots",
    "abandon_unfinished_volumes": "abort_unfinished_volumes",
    "answers_note": "call_outcomes_record",
    "authorization_server_forget": "authorization_server_clear_cache",
    "call_failed": "call_failure_record",
    "calls_until": "task_call_deadline",
    "copies_withdraw": "mark_copies_deleting",
    "copy_want": "record_desired_copy",
    "database_doubted": "database_doubt_set",
    "database_sealed": "database_confirm",
    "drop_exports": "delete_exports",
    "drop_replicas": "delete_replicas",
    "drop_snapshots": "delete_snapshots",
    "drop_volumes": "delete_volumes",
    "expect_to_go_on": "require_running",
    "export_waits_for": "export_pending_reason",
    "exports_drop": "delete_exports_on_nodes",
    "exports_want": "record_desired_exports",
    "exports_want_all": "record_desired_exports_for_all_hosts",
    "exports_withdraw": "mark_exports_deleting",
    "filling": "rebuilding",
    "find_strays": "find_drift",
    "finish_growths": "finish_expansions",
    "for_a_list": "exchange_for_list",
    "for_following": "exchange_for_follower",
    "forget_gone": "forget_removed",
    "forget_namespace_ids": "delete_namespace_ids",
    "generation_lately": "generation_cached",
    "growing_to_bytes": "expanding_to_bytes",
    "growth_finish": "expansion_finish",
    "growths_finish": "expansions_finish",
    "hand_on": "hand_over",
    "heard_at": "last_activity_at",
    "is_of": "matches_request",
    "is_stopping": "is_shutting_down",
    "last_look": "final_check",
    "leave_old_one": "hand_over",
    "leaving_uuid": "outgoing_uuid",
    "look_at_new_one": "verify_new_replica",
    "losses_follow": "check_after_not_found",
    "losses_note": "mark_missing",
    "made_by": "created_by_task",
    "marked_confirm": "marked_replicas_remove",
    "mend_limits": "repair_limits",
    "migration_heard_at": "migration_last_activity_at",
    "namespace_ids_forget": "namespace_ids_delete_unused",
    "node_numbers": "node_counts",
    "not_an_attempt": "uncount_attempt",
    "orphan_forget": "orphan_delete_row",
    "orphans_note": "orphans_store",
    "pieces_claim": "sub_volumes_claim",
    "pieces_of_volume": "sub_volumes_of",
    "placed_as": "placement_fields",
    "pool_numbers_cache": "pool_counts_cache",
    "publication_waits_for": "publication_pending_reason",
    "publications_withdraw": "mark_publications_deleting",
    "put_together": "assemble_all",
    "read_strays": "read_drift",
    "refuse_torn": "require_freezable",
    "register_question": "register_check",
    "replacement_beginning": "replacement_origin",
    "replica_forget": "replica_delete_row",
    "replica_give_up": "replica_abort",
    "replica_leave": "outgoing_release",
    "replica_leave_unconfirmed": "outgoing_release_unconfirmed",
    "replica_leaving": "outgoing_replica",
    "replica_made_by": "replica_created_by",
    "replica_row_waits_for": "replica_row_pending_reason",
    "replica_waits_for": "replica_pending_reason",
    "replicas_drop": "delete_replicas_on_nodes",
    "replicas_look": "replicas_verify",
    "replicas_move": "relocate_replicas",
    "replicas_return": "replicas_readopt",
    "replicas_withdraw": "mark_replicas_deleting",
    "request_key": "idempotency_digest",
    "revocations_forget": "revocations_clear_cache",
    "shared_out": "split_in_proportion",
    "silence_ends_at": "unavailable_at",
    "silence_over": "avoided_long_enough",
    "snapshot_abandon": "snapshot_abort",
    "snapshot_waits_for": "snapshot_pending_reason",
    "snapshots_drop": "delete_snapshots_on_nodes",
    "snapshots_shown": "snapshot_rows",
    "stays_while": "cache_answer_while",
    "strays_abort": "drain_tasks_abort_stale",
    "strays_of": "orphans_of",
    "strays_read": "drift_read",
    "syslogs_ask_first": "syslogs_request_first",
    "take_apart": "disassemble",
    "task_waits_for": "task_pending_reason",
    "tasks_hear": "tasks_touch",
    "token_named": "token_or_id_identify",
    "turn_of": "slot_of",
    "turn_take": "job_lease_acquire",
    "valid_while": "cache_answer_while",
    "volume_abandon": "volume_abort",
    "volume_begun": "volume_of_request",
    "volume_grow": "volume_expand",
    "volume_numbers": "volume_counts",
    "volume_regrow": "volume_expand_rows",
    "volume_waits_for": "volume_pending_reason",
    "volumes_shown": "volume_rows",
    "waits_for": "pending_reason",
    "withdraw_unfinished_publications": "abort_unfinished_publications",
    "writes_forget": "writes_clear_cache",
    "writes_question": "writes_barred_reason",
}
"""Old identifiers, each with its new name."""

WORDS = {
    "abandon": "abort",
    "beginning": "origin",
    "books": "engine state",
    "callers": "principals",
    "chains": "snapshot tree",
    "filling": "rebuilding",
    "growing": "expanding",
    "growth": "expansion",
    "leaving": "outgoing",
    "losses": "missing",
    "mend": "repair",
    "mortal": "restartable",
    "passing": "transitional",
    "placing": "scheduling",
    "scrubs": "zeroing",
    "stray": "drift",
    "strays": "drift",
    "switch": "fault control",
    "withdraw": "mark deleting",
    "witness": "generation checker",
}
"""Old parts of identifiers in the packages, each with the right term."""

EXCEPTIONS = {
    "strays": "the wire's name of a list",
}
"""Identifiers that may contain such a word, and why."""

PROSE = {
    r"abandon\w*": "abort; of a task whose worker died: its lease has expired",
    r"being filled|filling": "rebuild",
    r"fill(s|ed)? (a|an|another|its|the|this)( \w+)? replicas?": "rebuild",
    r"(gave|give|given|gives|giving) up": "abort, release, time out, or stop trying",
    r"growth|grown": "expansion, expanded",
    r"handed on": "handed over",
    r"heard (from|of)": "last activity, or report",
    r"in the place of": "instead of, or replaces",
    r"leaving": "outgoing",
    r"losses": "lost replicas, or what is missing",
    r"mend(ed|ing|s)?": "repair",
    r"mortal": "restartable",
    r"nobody repeats|made twice|no stranger": "say who does what",
    r"passing states?": "transitional state",
    r"patience": "time limit, or stall detection",
    r"pieces?": "sub-volume; of an answer: chunk",
    r"(refused|stopped|unfinished) moves?|moves (are|that)": "relocation",
    r"scrubs?": "zeroing",
    r"signs? of life": "heartbeat, or progress",
    r"strays?": "drift, or orphan",
    r"taken up": "say who does what",
    r"withdr\w+": "unpublish, abort, or mark as deleting",
    r"witness\w*": "generation checker",
}
"""Old words of comments, docstrings, texts and pages, each with the right one."""

PROSE_EXCEPTIONS = {
    r"/v1/node/strays": "a path of the node API",
    r"requeue-abandoned-tasks": "the name of a job, under which Redis has its schedule",
    r"\"leaving\"|outputs->>'leaving'": "a key in stored outputs of tasks",
    r"\"pieces\"": "a field of the node API",
    r"``losses``": "an argument of a test",
}
"""What a line may contain, and why."""

PIECES_OF_THE_NODE_API = ("inventory/nodes/", "tests/nodes/", "tests/spdk/", "tests/linux/")
"""The node API calls what lies on one SSD a piece; so do the programs on both its sides."""

PACKAGES = ("provisioner", "tasks", "inventory", "volumes")


DESCRIBES_THE_PAST = {
    Path(__file__).relative_to(ROOT).as_posix(),
    "docs/explanation/renamed.md",
}


def files(*patterns: str) -> list[str]:
    """Files of the repository, except migrations and others that describe the past."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = sorted(set(listed.splitlines()) - DESCRIBES_THE_PAST)
    return [n for n in names if "/migrations/" not in n and (ROOT / n).is_file()]


def sources() -> list[str]:
    return files("*.py")


def identifiers(file: str) -> Iterator[tuple[int, str]]:
    with (ROOT / file).open("rb") as source:
        for token in tokenize.tokenize(source.readline):
            if token.type == tokenize.NAME:
                yield token.start[0], token.string


def prose() -> Iterator[tuple[str, int, str]]:
    """Yield the lines of comments, docstrings and other texts of the code, and all lines of pages
    and of deployed files.
    """
    for file in sources():
        with (ROOT / file).open("rb") as source:
            for token in tokenize.tokenize(source.readline):
                if token.type in (tokenize.COMMENT, tokenize.STRING):
                    text = re.sub(r"\{[^{}]*\}", "", token.string)  # expressions of f-strings
                    for number, line in enumerate(text.splitlines()):
                        yield file, token.start[0] + number, line
    for file in files("*.md", "*.html", "Makefile", "deploy", "docs/reference/openapi.yaml"):
        if not file.endswith(".py"):
            for number, line in enumerate((ROOT / file).read_text().splitlines(), 1):
                yield file, number, line


def parts(identifier: str) -> set[str]:
    return {part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", identifier)}


@pytest.fixture(scope="module")
def found() -> list[tuple[str, int, str]]:
    return [(file, line, name) for file in sources() for line, name in identifiers(file)]


def test_no_old_identifier_is_used(found: list[tuple[str, int, str]]) -> None:
    wrong = [
        f"{f}:{line}: {name}, not {old}" for f, line, old in found if (name := INSTEAD.get(old))
    ]
    assert wrong == []


def test_no_identifier_contains_an_old_word(found: list[tuple[str, int, str]]) -> None:
    wrong = [
        f"{file}:{line}: {name}: say {WORDS[word]}, not {word}"
        for file, line, name in found
        if file.startswith(PACKAGES) and name not in EXCEPTIONS
        for word in sorted(parts(name) & WORDS.keys())
    ]
    assert wrong == []


def test_each_exception_for_identifiers_is_still_needed(found: list[tuple[str, int, str]]) -> None:
    assert EXCEPTIONS.keys() - {name for _, _, name in found} == set()


def test_no_page_names_an_old_identifier() -> None:
    pages = [p for p in (ROOT / "docs").rglob("*.md") if p.name != "renamed.md"]
    pattern = re.compile("`(" + "|".join(map(re.escape, INSTEAD)) + ")`")
    wrong = [f"{p.name}: {m.group(1)}" for p in pages for m in pattern.finditer(p.read_text())]
    assert wrong == []


def old_words(lines: Iterable[tuple[str, int, str]]) -> list[str]:
    exceptions = re.compile("|".join(PROSE_EXCEPTIONS))
    any_of_them = re.compile(rf"\b({'|'.join(PROSE)})\b", re.IGNORECASE)
    return [
        f"{file}:{line}: {match[0]!r}: say {new}"
        for file, line, text in lines
        if any_of_them.search(text)
        for old, new in PROSE.items()
        for match in re.finditer(rf"\b({old})\b", exceptions.sub("", text), re.IGNORECASE)
        if not (match[0].lower().startswith("piece") and file.startswith(PIECES_OF_THE_NODE_API))
    ]


@pytest.fixture(scope="module")
def texts() -> list[tuple[str, int, str]]:
    return list(prose())


def test_no_text_contains_an_old_word(texts: list[tuple[str, int, str]]) -> None:
    assert old_words(texts) == []


def test_each_exception_for_texts_is_still_needed(texts: list[tuple[str, int, str]]) -> None:
    lines = "\n".join(text for _, _, text in texts)
    assert [e for e in PROSE_EXCEPTIONS if not re.search(e, lines)] == []


@pytest.mark.parametrize(
    ("file", "text", "is_found"),
    [
        ("volumes/jobs.py", "# no Sign of life", True),
        ("volumes/jobs.py", "two pieces", True),
        ("inventory/nodes/wire.py", "two pieces", False),
        ("volumes/jobs.py", "GET /v1/node/strays", False),
        ("docs/index.md", "What is withdrawn", True),
    ],
)
def test_an_old_word_would_be_found(file: str, text: str, *, is_found: bool) -> None:
    assert bool(old_words([(file, 1, text)])) is is_found


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("volumes/services/claims.py", "so that transactions cannot deadlock"),
        ("docs/index.md", "# Provisioner"),
        ("deploy/haproxy.cfg", "MAX_CONNECTIONS"),
    ],
)
def test_docstrings_pages_and_deployed_files_are_read(
    file: str, text: str, texts: list[tuple[str, int, str]]
) -> None:
    assert any(name == file and text in line for name, _, line in texts)
