"""``policy`` on a running server: which one is in force, and how another comes into force."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from mlflow_governance import config
from mlflow_governance.cli.client import RegistryClient
from mlflow_governance.errors import InvalidRequest

_digest = click.argument("digest", metavar="DIGEST")
_reason = click.option("--reason", required=True, help="Why; it goes into the ledger.")
_json = click.option("--json", "as_json", is_flag=True, help="Print the whole answer as JSON.")


@click.command()
@_json
def status(as_json: bool) -> None:
    """Say which policy is in force, since when and by whom, and what its source has.

    \b
    mlflow-governance policy status
    """
    found = RegistryClient().policy()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    click.echo(f"in force   {found['policy_digest']}")
    click.echo(f"           since {found['since']} by {found['by']}, ledger entry {found['entry']}")
    if found["reason"]:
        click.echo(f"           {found['reason']}")
    click.echo(f"engine     {found['engine']}")
    source, asked = found["source"], found["approvals"]
    has = source["digest"] or "nothing that can be used"
    same = source["digest"] == found["policy_digest"]
    click.echo(f"source     {source['name']}: {'the same' if same else has}")
    if source["note"]:
        click.echo(f"           {source['note']}")
    roles = " or ".join(asked["roles"]) if asked else ""
    click.echo(
        f"approvals  {asked['count']} of {roles}" if asked else "approvals  none are asked for"
    )


@click.command()
@click.argument("digest", metavar="[DIGEST]", required=False)
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, exists=True),
    help="Folder or .tar.gz; default: the one of the home folder, else the one that ships.",
)
@_reason
@click.option("--home", default=None, help="Home folder of the installation.")
def propose(digest: str | None, bundle: Path | None, reason: str, home: str | None) -> None:
    """Propose a policy bundle, or one that was in force before by its DIGEST.

    It comes into force when as many others approved it as policy_approvals in config.yaml asks
    for. Who proposes approves nothing.

    \b
    mlflow-governance policy propose --bundle policies-2027 --reason "severities of 2027"
    """
    if digest and bundle:
        raise InvalidRequest("name a DIGEST or a --bundle, not both")
    if digest:
        made = RegistryClient().propose_policy(reason, digest=digest)["proposal"]
    else:
        data = _packed(bundle, home)
        made = RegistryClient().propose_policy(reason, archive=data)["proposal"]
    click.echo(f"{made['digest']} is proposed; {made['needed']} people must approve it:")
    click.echo(f"  mlflow-governance policy approve {made['digest']} --reason WHY")


def _packed(bundle: Path | None, home: str | None) -> bytes:
    # All files, since a signature is over all of them; what decides is picked out by the server.
    from mlflow_governance import bootstrap
    from mlflow_governance.policy import archive
    from mlflow_governance.policy import bundle as bundles

    if bundle is not None:
        return archive.pack(bundles.read(bundle))
    settings = config.load(config.home_folder(home))
    return archive.pack(bootstrap.policy_source(settings).fetch().files)


@click.command()
@_json
def proposals(as_json: bool) -> None:
    """List proposed policies, newest first, with what was said of them."""
    found = RegistryClient().policy_proposals()["proposals"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for one in found:
        click.echo(f"{one['digest']}  {one['state']}, {one['given']} of {one['needed']} approved")
        click.echo(f"  proposed by {one['person']} at {one['at'][:19]}: {one['reason']}")
        for word in one["words"]:
            verb = "approved" if word["decision"] == "approve" else "rejected"
            click.echo(f"  {verb} by {word['person']} at {word['at'][:19]}: {word['reason']}")
    if not found:
        click.echo("nothing is proposed: mlflow-governance policy propose --reason WHY")


@click.command()
@_digest
@_reason
def approve(digest: str, reason: str) -> None:
    """Approve a proposed policy; the last approval that is needed puts it into force.

    \b
    mlflow-governance policy fetch DIGEST -o proposed.tar.gz
    mlflow-governance policy approve DIGEST --reason "as agreed in SEC-17"
    """
    _tell(RegistryClient().speak_of_policy(digest, "approve", reason)["proposal"])


@click.command()
@_digest
@_reason
def reject(digest: str, reason: str) -> None:
    """Reject a proposed policy, or take back what you proposed yourself.

    While somebody's rejection stands, it does not come into force. Your later word replaces your
    earlier one.
    """
    _tell(RegistryClient().speak_of_policy(digest, "reject", reason)["proposal"])


def _tell(proposal: dict[str, Any]) -> None:
    against = sum(word["decision"] == "reject" for word in proposal["words"])
    rejected = f", {against} rejected" if against else ""
    counted = f"{proposal['given']} of {proposal['needed']} approved{rejected}"
    waits = "; it comes into force when the policy server serves it" if proposal["waits"] else ""
    click.echo(f"{proposal['digest']}  {proposal['state']}, {counted}{waits}")


@click.command()
@_digest
@_reason
def activate(digest: str, reason: str) -> None:
    """Put a policy into force again that was so before; administrators only.

    Not possible where approvals are asked for: propose it by its digest there.

    \b
    mlflow-governance policy activate sha256:… --reason "the new one denied too much"
    """
    now = RegistryClient().activate_policy(digest, reason)
    click.echo(f"in force   {now['policy_digest']}")


@click.command()
@_digest
@click.option("--output", "-o", type=click.Path(path_type=Path), required=True, help="File.")
def fetch(digest: str, output: Path) -> None:
    """Fetch a policy that is, was or shall be in force, as .tar.gz; its digest is verified.

    \b
    mlflow-governance policy fetch sha256:… -o proposed.tar.gz
    """
    from mlflow_governance.core import digest as digests
    from mlflow_governance.policy import bundle

    data = RegistryClient().policy_bundle(digest)
    bundle.kept_as(data, digests.parse(digest))
    output.write_bytes(data)
    click.echo(f"{output}: {digest}")


COMMANDS = (status, propose, proposals, approve, reject, activate, fetch)
