"""The bucket policy in the documentation can be used, and says what the page says."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[3] / "docs"
SERVER = "arn:aws:iam::ACCOUNT:role/SERVER_ROLE"
ADMINISTRATOR = "arn:aws:iam::ACCOUNT:role/Admin"
BREAK_GLASS = "arn:aws:iam::ACCOUNT:role/BREAK_GLASS_ROLE"
OBJECT = "arn:aws:s3:::BUCKET/PREFIX/1/models/m-1/artifacts/MLmodel"
BUCKET = "arn:aws:s3:::BUCKET"


@pytest.fixture(scope="module")
def policy() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DOCS / "bucket-policy.json").read_text("utf-8"))
    return found


def _list(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def denied(policy: dict[str, Any], principal: str, action: str, resource: str) -> bool:
    """Whether a statement denies this, as IAM's evaluation of denials has it."""
    for statement in policy["Statement"]:
        named = any(fnmatchcase(action, pattern) for pattern in _list(statement["Action"]))
        meant = any(fnmatchcase(resource, pattern) for pattern in _list(statement["Resource"]))
        condition = statement.get("Condition", {})
        spared = condition.get("ArnNotEquals", {}).get("aws:PrincipalArn", [])
        tls = "Bool" in condition  # concerns plain HTTP only
        if named and meant and not tls and principal not in _list(spared):
            return True
    return False


def test_it_only_denies_and_every_statement_has_a_name(policy: dict[str, Any]) -> None:
    statements = policy["Statement"]

    assert policy["Version"] == "2012-10-17"
    assert {s["Effect"] for s in statements} == {"Deny"}
    assert len({s["Sid"] for s in statements}) == len(statements)
    assert all(re.fullmatch(r"[A-Za-z0-9]+", s["Sid"]) for s in statements)
    assert len(json.dumps(policy)) < 20_480  # AWS takes no more


@pytest.mark.parametrize("action", ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"])
def test_only_the_server_reads_and_writes(policy: dict[str, Any], action: str) -> None:
    assert not denied(policy, SERVER, action, OBJECT)
    for principal in (ADMINISTRATOR, BREAK_GLASS, "anonymous"):
        assert denied(policy, principal, action, OBJECT)
    assert not denied(policy, ADMINISTRATOR, action, "arn:aws:s3:::BUCKET/elsewhere/x")


@pytest.mark.parametrize(
    "action",
    ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:GetObjectVersion"],
)
def test_the_server_can_do_its_work(policy: dict[str, Any], action: str) -> None:
    assert not denied(policy, SERVER, action, OBJECT)
    assert not denied(policy, SERVER, "s3:ListBucket", BUCKET)


@pytest.mark.parametrize("principal", [SERVER, ADMINISTRATOR, BREAK_GLASS])
@pytest.mark.parametrize(
    "action", ["s3:DeleteObjectVersion", "s3:BypassGovernanceRetention", "s3:PutObjectRetention"]
)
def test_nobody_rewrites_history(policy: dict[str, Any], principal: str, action: str) -> None:
    assert denied(policy, principal, action, OBJECT)


def test_the_bucket_itself_is_for_the_break_glass_role(policy: dict[str, Any]) -> None:
    for action in ("s3:PutBucketPolicy", "s3:DeleteBucketPolicy", "s3:PutBucketVersioning"):
        assert denied(policy, SERVER, action, BUCKET)
        assert denied(policy, ADMINISTRATOR, action, BUCKET)
        assert not denied(policy, BREAK_GLASS, action, BUCKET)


def test_the_json_of_the_page_is_json_and_its_placeholders_are_explained() -> None:
    page = (DOCS / "storage.md").read_text("utf-8")
    blocks = re.findall(r"```json\n(.*?)```", page, re.DOTALL)

    assert blocks
    for block in blocks:
        json.loads(block)
    policy = (DOCS / "bucket-policy.json").read_text("utf-8")
    for name in set(re.findall(r"\b(BUCKET|PREFIX|ACCOUNT|[A-Z]+(?:_[A-Z]+)+)\b", policy)):
        assert f"`{name}`" in page
