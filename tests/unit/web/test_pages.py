"""The pages: what people read, and what cannot be smuggled into it."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import pytest
from werkzeug.test import TestResponse

from mlflow_governance.core.actor import Actor
from mlflow_governance.core.dossier import Outcome
from mlflow_governance.core.stage import Stage
from mlflow_governance.errors import Denied, GovernanceError
from mlflow_governance.evidence.interface import EvidenceItem, Kind
from mlflow_governance.web import api, pages
from mlflow_governance.workflows.ports import Request
from mlflow_governance.workflows.promote import transition
from tests.unit.web.builders import Registry, registry, scientist, security, warned

HOSTILE = "<script>alert('x')<script>"


class Seen(HTMLParser):
    """Tags with their attributes, and the ids of what is disabled."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def by_id(self, name: str) -> dict[str, str | None]:
        return next(attrs for _, attrs in self.tags if attrs.get("id") == name)

    def ids(self) -> list[str | None]:
        return [attrs["id"] for _, attrs in self.tags if "id" in attrs]


@pytest.fixture
def governed() -> Registry:
    made = registry()
    made.add("churn", 1, Stage.STAGING)
    return made


def page(governed: Registry, path: str) -> TestResponse:
    return governed.app().test_client().get(path)


def one(governed: Registry) -> TestResponse:
    return page(governed, "/governance/version?name=churn&version=1")


def test_the_empty_catalogue_teaches_the_first_steps() -> None:
    text = page(registry(), "/governance").text

    assert "No model is governed yet" in text
    assert "mlflow-governance submit models:/churn/1" in text


def test_a_filter_without_a_match_says_so(governed: Registry) -> None:
    assert "Nothing here" in page(governed, "/governance?name=nope").text
    assert "Nothing here" in page(governed, "/governance?page=9").text


def test_the_catalogue_shows_stage_failed_checks_and_approvals(governed: Registry) -> None:
    request = Request(scientist(), governed.store.versions()[0].ref)
    with pytest.raises(Denied):
        transition(governed.ports, request, Stage.APPROVED)

    text = page(governed, "/governance").text

    assert '<span class="badge staging">Staging</span>' in text
    assert "2 failed" in text


def test_ten_thousand_versions_are_shown_fifty_at_a_time() -> None:
    governed = registry()
    for number in range(1, 10_001):
        governed.add("churn", number, Stage.CANDIDATE, facts=None)

    text = page(governed, "/governance?stage=Candidate&page=2").text

    assert text.count('<th scope="row">') == 50
    assert "51\u2013100 of 10,000" in text
    assert 'href="/governance?name=&amp;' not in text
    assert 'href="/governance?stage=Candidate"' in text
    assert 'href="/governance?stage=Candidate&amp;page=3"' in text


def test_what_is_missing_comes_with_the_command_that_mends_it(governed: Registry) -> None:
    text = one(governed).text

    assert "Missing for Approved" in text
    assert "PRO-007" in text
    assert "mlflow-governance attest churn/1 canary --result PROCEED" in text


def test_what_lacks_nothing_is_shown_ready(governed: Registry) -> None:
    governed.store.records.clear()
    governed.add("churn", 1, Stage.CANDIDATE)

    text = one(governed).text

    assert "Ready for Staging" in text
    assert 'transition_model_version_stage("churn", 1, "Staging")' in html.unescape(text)


def test_an_approver_is_offered_their_roles(governed: Registry) -> None:
    governed.actor = Actor("ann", ("security", "tea-club"), authenticated=True)
    text = one(governed).text
    seen = Seen(text)

    assert "disabled" not in seen.by_id("approve")
    assert "<option>security</option>" in text
    assert "tea-club</option>" not in text
    assert {"approve-reason", "withdraw-reason"} <= set(seen.ids())


def test_only_who_gave_a_word_is_offered_to_take_it_back(governed: Registry) -> None:
    governed.actor = security("ann")
    body = {"name": "churn", "version": 1, "role": "security", "reason": "read"}
    governed.app().test_client().post(api.API + "/approvals", json=body)

    assert "take-back-1" in Seen(one(governed).text).ids()
    governed.actor = security("eve")
    assert "take-back-1" not in Seen(one(governed).text).ids()


@pytest.mark.parametrize(
    ("actor", "why"),
    [
        (security("sam"), "who submitted a version may not approve it"),
        (scientist("joe"), "Approving takes one of the roles product, security."),
        (Actor.anonymous(), "an approval needs a known person"),
    ],
)
def test_who_may_not_approve_sees_why(governed: Registry, actor: Actor, why: str) -> None:
    governed.actor = actor
    seen = Seen(one(governed).text)

    assert "disabled" in seen.by_id("approve")
    assert why in str(seen.by_id("approve")["title"])
    assert "approve-reason" not in seen.ids()


def test_who_may_not_revoke_sees_why_and_no_reason_field(governed: Registry) -> None:
    governed.actor = scientist("joe")
    seen = Seen(one(governed).text)

    assert "disabled" in seen.by_id("revoke")
    assert "none of the roles" in str(seen.by_id("revoke")["title"])
    assert "withdraw-reason" not in seen.ids()


def test_a_quarantined_version_can_be_restored_and_a_revoked_one_not(governed: Registry) -> None:
    client = governed.app().test_client()
    target = {"name": "churn", "version": 1, "reason": "drift"}
    client.post(api.API + "/quarantine", json=target)
    assert "restore" in Seen(one(governed).text).ids()

    client.post(api.API + "/revoke", json=target)
    text = one(governed).text

    assert "revoke" not in Seen(text).ids()
    assert "ever again" in text
    assert "refused to you" in text


def test_an_erased_person_is_shown_as_erased(governed: Registry) -> None:
    governed.app().test_client().post(
        api.API + "/quarantine", json={"name": "churn", "version": 1, "reason": "drift"}
    )
    governed.store.private.clear()

    assert "<i>erased</i>" in one(governed).text


def test_nothing_anybody_wrote_becomes_markup() -> None:
    governed = registry(Actor(HOSTILE, ("security", HOSTILE), authenticated=True))
    governed.examiner.outcomes[Kind.SIGNATURE] = Outcome.failed(HOSTILE)
    governed.examiner.outcomes[Kind.DATASET] = Outcome.passed(datasets=[{HOSTILE: HOSTILE}])
    governed.examiner.outcomes[Kind.SBOM] = Outcome.passed(**{HOSTILE: HOSTILE})
    record = governed.add(HOSTILE, 1, Stage.STAGING, submitter=HOSTILE)
    item = EvidenceItem(f"attestations/{HOSTILE}.intoto.json", b"{}")
    governed.store.add_evidence(record.uid, [item])
    client = governed.app().test_client()
    target = {"name": HOSTILE, "version": 1, "reason": HOSTILE}
    client.post(api.API + "/approvals", json={**target, "role": "security"})
    client.post(api.API + "/judge", json={"name": HOSTILE, "version": 1})
    client.post(api.API + "/quarantine", json=target)

    for path, query in (
        ("/governance", {}),
        ("/governance", {"name": HOSTILE}),
        ("/governance/version", {"name": HOSTILE, "version": 1}),
        ("/governance/version", {"name": HOSTILE, "version": 2}),
        ("/governance", {"stage": HOSTILE}),
    ):
        answer = client.get(path, query_string=query)
        scripts = [attrs for tag, attrs in Seen(answer.text).tags if tag == "script"]

        assert HOSTILE.split("(")[0] not in answer.text
        assert len(scripts) == 1
        assert all(attrs["src"] for attrs in scripts)


def test_a_page_allows_nothing_but_its_own_files(governed: Registry) -> None:
    answer = one(governed)

    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["Cache-Control"] == "no-store"
    for tag, attrs in Seen(answer.text).tags:
        assert not [name for name in attrs if name.startswith("on") or name == "style"], tag
        assert tag != "style"
        for name in ("src", "href"):
            assert not re.match(r"[a-z]+:|//", attrs.get(name) or ""), (tag, attrs)


def test_the_page_names_every_control_and_region(governed: Registry) -> None:
    for path in ("/governance", "/governance/version?name=churn&version=1"):
        seen = Seen(page(governed, path).text)
        labelled = {attrs.get("for") for tag, attrs in seen.tags if tag == "label"}

        assert len(seen.ids()) == len(set(seen.ids()))
        for tag, attrs in seen.tags:
            if tag in ("input", "select", "textarea"):
                assert attrs["id"] in labelled
            if tag == "section":
                assert "aria-labelledby" in attrs or attrs.get("class") == "card empty"
        assert {"header", "main", "nav"} <= {tag for tag, _ in seen.tags}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/governance/version?name=nope&version=1", 404),
        ("/governance/version", 400),
        ("/governance?stage=Nowhere", 400),
        ("/governance?page=0", 400),
        ("/governance?sudo=1", 400),
    ],
)
def test_a_refusal_is_a_page(governed: Registry, path: str, status: int) -> None:
    answer = page(governed, path)

    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "All versions" in answer.text


def test_a_failure_is_a_page_too_and_never_500(governed: Registry) -> None:
    for error in (RuntimeError("hunter2"), GovernanceError("broken")):
        services = governed.services()

        def fail(error: Exception = error) -> Actor:
            raise error

        object.__setattr__(services, "actor", fail)
        governed.services = lambda found=services: found  # type: ignore[method-assign,misc]
        answer = page(governed, "/governance")

        assert answer.status_code == 409
        assert "hunter2" not in answer.text


def test_static_files_are_asked_for_by_their_content(governed: Registry) -> None:
    client = governed.app("/ml").test_client()
    text = client.get("/ml/governance").text

    for path in re.findall(r'(?:src|href)="(/ml/governance/static/[^"]+)"', text):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["Cache-Control"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert 'href="/ml/"' in text
    assert set(pages.served("/ml")) <= {r.rule for r in governed.app("/ml").url_map.iter_rules()}


def test_warnings_are_shown_and_none_where_there_are_none(governed: Registry) -> None:
    relaxed = warned()
    relaxed.add("churn", 1, Stage.STAGING)

    text = one(relaxed).text

    assert "warnings" in Seen(text).ids()
    below = text.partition('id="warnings"')[2]
    assert "PRO-009" in below
    assert "--model-card model_card.yaml" in below
    assert "warnings" not in Seen(one(governed).text).ids()
