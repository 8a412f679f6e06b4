"""Commands for tenants and their budgets."""

import click

from provisionerctl import names
from provisionerctl.complete import TENANT
from provisionerctl.errors import NO_CHANGE, Exit, Failure
from provisionerctl.options import noun, with_confirmation, with_watch
from provisionerctl.output import Column
from provisionerctl.session import Session, pass_session
from provisionerctl.units import Size, gib_text, limit_text, size_text

tenants = noun("tenants", "list", "Tenants and their budgets.")
NUMBER = click.IntRange(0)
COLUMNS = (
    Column("ID", "tenantId"),
    Column("NAME", "name"),
    Column("CAPACITY", "capacity", gib_text),
    Column("USED", "consumedCapacity", lambda gib: size_text(gib * 2**30)),
    Column("IOPS", "totalIOPS", limit_text),
    Column("USED IOPS", "consumedIOPS", lambda used: f"{used:,}"),
    Column("BANDWIDTH", "totalBW", limit_text, wide=True),
    Column("USED BANDWIDTH", "consumedBW", lambda used: f"{used:,}", wide=True),
)


@tenants.command("list", csv=True)
@with_watch
@pass_session
def list_(session: Session) -> None:
    """List tenants with their budgets and the used part of them."""
    session.list(lambda: session.client.get("tenants"), COLUMNS)


@tenants.command()
@click.argument("name")
@click.option("--id", "identifier", help="Id of the tenant; default: the API generates one.")
@click.option(
    "--capacity", type=Size(), default=0, help="Budget in GiB, which is enforced; 0: no limit."
)
@click.option(
    "--iops", type=NUMBER, default=0, help="Budget of IOPS, which is only counted; 0: no limit."
)
@click.option("--bandwidth", type=NUMBER, default=0, help="The same, in bytes per second.")
@pass_session
def create(
    session: Session, *, name: str, identifier: str | None, capacity: int, iops: int, bandwidth: int
) -> None:
    """Add a tenant."""
    body = {"name": name, "capacity": capacity, "totalIOPS": iops, "totalBW": bandwidth}
    if identifier:
        body["tenantId"] = identifier
    answer = session.client.change("POST", "tenants", body=body)
    session.done(answer, f"Tenant {name} was added: {answer.get('tenantId', '')}")


@tenants.command("set")
@click.argument("tenant_id", metavar="TENANT", type=TENANT)
@click.option("--capacity", type=Size(), help="Budget in GiB; 0: no limit.")
@click.option("--iops", type=NUMBER, help="Budget of IOPS; 0: no limit.")
@click.option("--bandwidth", type=NUMBER, help="Budget in bytes per second; 0: no limit.")
@pass_session
def set_(
    session: Session, tenant_id: str, capacity: int | None, iops: int | None, bandwidth: int | None
) -> None:
    """Change the given parts of a tenant's budget."""
    changes = {"capacity": capacity, "totalIOPS": iops, "totalBW": bandwidth}
    if set(changes.values()) == {None}:
        raise Failure(NO_CHANGE, Exit.USAGE)
    row = names.tenant(session.client, tenant_id)
    body = {k: row[k] if value is None else value for k, value in changes.items()}
    answer = session.client.change("PUT", "tenants", tenant_id, body=body)
    session.done(answer, f"The budget of tenant {tenant_id} was changed.")


@tenants.command()
@click.argument("tenant_id", metavar="TENANT", type=TENANT)
@with_confirmation
@pass_session
def delete(session: Session, tenant_id: str) -> None:
    """Delete a tenant that has no volumes."""
    session.confirm(f"Delete tenant {tenant_id}?")
    answer = session.client.change("DELETE", "tenants", tenant_id)
    session.done(answer, f"Tenant {tenant_id} was deleted.")
