"""The options of a new volume, and the tables of its placement."""

from typing import Any

import click

from provisionerctl.client import Body
from provisionerctl.complete import HOST
from provisionerctl.output import Column
from provisionerctl.units import size_text

CLASS_FIELDS = {
    "replicas": "numReplicas",
    "replicable": "replicable",
    "rack": "racks",
    "zone": "zones",
    "region": "regions",
    "same_rack": "sameRackAllowed",
    "class_name": "name",
    "share_ssd": "shareSSDBetweenVolumes",
    "span": "allowSpan",
    "on_host": "hostId",
    "block_size": "blockSize",
    "heal_after": "maxReplicaDownTime",
    "max_iops_per_gib": "maxIOPSPerGB",
    "max_bandwidth_per_gib": "maxBWPerGB",
    "iops_per_gib": "desiredIOPSPerGB",
    "bandwidth_per_gib": "desiredBWPerGB",
}
"""Fields of the storage class, by option."""
FIELDS = {"uuid": "uuid", "reserve": "reservedSpacePercentage", "protocol": "protocol"}
NUMBER = click.IntRange(0)
OPTIONS = (
    click.option("--replicas", type=NUMBER, help="1 to 3, each on a different node."),
    click.option("--thin", is_flag=True, help="Thin volume: reserve only a part of the space."),
    click.option("--reserve", type=NUMBER, metavar="PERCENT", help="Reserved part of a thin "
                                                                   "volume."),
    click.option("--rack", multiple=True, help="Only in this rack; may be repeated."),
    click.option("--zone", multiple=True, help="Only in this zone; may be repeated."),
    click.option("--region", multiple=True, help="Only in this region; may be repeated."),
    click.option("--same-rack/--no-same-rack", default=None, help="Allow several replicas in one "
                                                                  "rack."),
    click.option("--class", "class_name", metavar="NAME", help="Name of the storage class."),
    click.option(
        "--share-ssd/--no-share-ssd", default=None, help="Allow an SSD that holds a volume of the "
                                                         "same class."
    ),
    click.option("--span/--no-span", default=None, help="Allow a replica over several SSDs of its "
                                                        "node."),
    click.option("--on-host", type=HOST, help="Only on the node that runs inside this host."),
    click.option("--block-size", type=click.Choice(["512", "4096"]), help="Bytes."),
    click.option("--heal-after", type=NUMBER, metavar="MINUTES",
                 help="Time after which a Missing replica is replaced; 0: never."),
    click.option("--max-iops-per-gib", type=NUMBER, help="Limit that the node enforces; 0: none."),
    click.option("--max-bandwidth-per-gib", type=NUMBER, help="The same, in bytes per second."),
    click.option("--iops-per-gib", type=NUMBER, help="Amount that placement reserves on the node."),
    click.option("--bandwidth-per-gib", type=NUMBER, help="The same, in bytes per second."),
    click.option("--replicable/--no-replicable", default=None, help="Allow several replicas."),
    click.option("--protocol", type=click.Choice(["NVMeoF", "Local"], case_sensitive=False),
                 help="Local: only for the host in which the node runs."),
    click.option("--uuid", help="Uuid of the new volume; default: the API generates one."),
)  # fmt: skip
PLACED = (
    Column("CHOSEN", "name"),
    Column("ID", "backend.persistentID"),
    Column("SSDS", lambda row: [part["ssdID"] for part in row["subVolumes"]]),
    Column("SIZE", lambda row: sum(part["capacity"] for part in row["subVolumes"]), size_text),
    Column("RESERVED", lambda row: sum(part["reservedSpace"] for part in row["subVolumes"]),
           size_text),
)  # fmt: skip
REFUSED = (
    Column("REFUSED", "name"),
    Column("ID", "backend.persistentID"),
    Column("FILTER", "filter"),
    Column("REASON", "reason"),
)


def with_placement_options(command: Any) -> Any:
    """Add the options of a new volume to a command."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def body_of(alias: str, size: int, *, thin: bool, **given: Any) -> Body:
    """Return the body of ``POST /volumes``. Options that were not given are omitted, so the API
    uses its defaults.
    """
    given = {k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}
    given = {name: value for name, value in given.items() if value not in (None, [])}
    if "block_size" in given:
        given["block_size"] = int(given["block_size"])
    body: Body = {"alias": alias, "capacity": size}
    body |= {FIELDS[name]: value for name, value in given.items() if name in FIELDS}
    if thin:
        body["provisioningType"] = "THIN"
    wanted = {CLASS_FIELDS[name]: value for name, value in given.items() if name in CLASS_FIELDS}
    return body | ({"storageClass": wanted} if wanted else {})
