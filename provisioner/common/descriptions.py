"""Descriptions of the API's operations and fields, for the OpenAPI description.

A field that means the same everywhere is described once, by its name. A description for
``Serializer.field`` takes precedence, and a field's own ``help_text`` over both. Operations are
named ``resource.action``, as in their view.
"""

_ADMINS = "Shown to administrators only."

FIELDS: dict[str, str] = {
    "alias": "Name given by the client: 1 to 255 characters of A-Z a-z 0-9 . _ -, unique among the "
    "volumes, or among the snapshots, of the tenant.",
    "TargetOutput.alias": "Alias of the target.",
    "allowSpan": "Whether a replica may be spread over several SSDs of its node.",
    "appName": "Name of the program that sends the record; the APP-NAME of RFC 5424.",
    "authenticationMode": "`LOCAL`: tokens of this server; `OPEN_IDC`: tokens of the authorization "
    "server.",
    "InfoOutput.authenticationMode": "`JWT`: tokens of this server; `OPEN_IDC`: tokens of the "
    "authorization server.",
    "authorizationServer": "Address from which the node gets the tokens for its probes. Absent in "
    "the mode `LOCAL`.",
    "authorizationServerAudience": "Audience (`aud`) that tokens must be made for.",
    "authorizationServerIssuer": "Issuer (`iss`) that tokens must name.",
    "authorizationServerJwkSetURL": "Address of the server's JSON Web Key Set, which verifies "
    "tokens. Either this or `authorizationServerPublicKey`.",
    "authorizationServerPublicKey": "PEM of the key that verifies tokens.",
    "authorizationServerTokenURL": "Address that issues tokens for client credentials.",
    "availableCapacity": "Free space of the node in bytes.",
    "backend": "The storage node.",
    "RefusalOutput.backend": "Persistent id of the storage node that was refused.",
    "PlannedReplicaOutput.backend": "Persistent id of the storage node that was chosen.",
    "backendId": "Only volumes with a replica on the storage node with this persistent id.",
    "backends": "The storage nodes as they were when the sample was taken.",
    "backendsClientID": "Client id with which storage nodes get their tokens.",
    "backendsClientScope": "Scope that storage nodes request.",
    "backendsClientSecret": f"Secret of `backendsClientID`. {_ADMINS}",
    "backendsResourceID": "Resource for which the tokens of storage nodes have the role `NODE`.",
    "bootId": "Changes each time the node's engine starts.",
    "bytesPerSecond": "Rate of the copy in bytes per second, as last reported.",
    "bytesTotal": "Bytes to copy.",
    "caCertificate": "PEM of the CA that signed the certificate of `tokenURL`; empty: the "
    "system's.",
    "capacity": "Size in GiB, at least 1.",
    "TenantInput.capacity": "Budget in GiB; 0: no limit. It cannot be exceeded.",
    "TenantBudgetInput.capacity": "Budget in GiB; 0: no limit. It cannot be exceeded.",
    "certFileName": "Name of the file with the server's CA certificate.",
    "certified": "Whether all SSDs of the node are certified.",
    "changes": "Changes on the node since its last probe, as bits: 1 portals, 2 syslog servers.",
    "SampleOutput.changes": "Differences from the previous sample; one entry of type `NONE` if "
    "there are none.",
    "clientID": "Client id for `tokenURL`.",
    "clientSecret": f"Secret of `clientID`. {_ADMINS}",
    "connectedBackends": "Storage nodes on which the target exists.",
    "consumedIOPS": "Desired IOPS of all volumes of the tenant.",
    "desiredBWPerGB": "Bandwidth in bytes per second and GiB that placement reserves on the node.",
    "desiredIOPS": "IOPS that are reserved on each node of the volume.",
    "desiredIOPSPerGB": "IOPS per GiB that placement reserves on the node.",
    "destinationBackendId": "Persistent id of the storage node that must get the new replica. "
    "Absent: placement chooses.",
    "dryRun": "`true`: change nothing. The answer lists the nodes and SSDs that would be chosen, "
    "and the reason for each node that would not be chosen.",
    "duration": "Seconds until the host's next probe. A host that is silent for three times as "
    "long is Unavailable.",
    "expirationDate": "Time when the licence expires; absent: never.",
    "filter": "The placement filter that excluded the node.",
    "force": "`true`: remove a node that is Unavailable although it holds volumes. Their replicas "
    "there become Missing.",
    "host": "Name of the host of the record; the HOSTNAME of RFC 5424.",
    "hostID": "Only volumes that are published to the host with this id.",
    "SessionOutput.hostID": "Id of the host that is connected.",
    "hostId": "Id of the host.",
    "StorageClassInput.hostId": "Only on the storage node that runs inside the host with this id.",
    "BackendAddInput.hostId": "Id of the host in which the storage node runs.",
    "BackendOutput.hostId": "Id of the host in which the storage node runs.",
    "BackendUpdateInput.hostId": "Id of the host in which the storage node runs.",
    "TaskOutput.hostId": "Id of the host that carries out the task; absent: a worker does.",
    "hostName": "Only hosts with this name.",
    "hostNqn": "NQN by which the host connects to targets.",
    "hostTargetConnectedTo": "Name of the host of the target.",
    "id": "Id of the syslog server.",
    "inUse": "Whether the object is in use.",
    "BackendOutput.inUse": "`false`: the node is cordoned, so no new replica is placed on it.",
    "BackendUpdateInput.inUse": "`false`: cordon the node, so no new replica is placed on it.",
    "ProvisionerInput.inUse": "`false`: the node is cordoned.",
    "ProvisionerOutput.inUse": "`false`: the node is cordoned.",
    "VolumeOutput.inUse": "Whether the volume is published to a host.",
    "VolumeExtendedOutput.inUse": "Whether the volume is published to a host.",
    "inventorySamples": "The latest samples, the newest first.",
    "ip": "Address that the node's targets listen on.",
    "jwkSetURL": "Address of the JSON Web Key Set that verifies tokens.",
    "license": "The licence as its vendor issued it: a JSON Web Token.",
    "limit": "Greatest number of objects in the answer. Absent: all.",
    "location": "The replicas, and the storage node of each.",
    "marker": "Return the objects after the one with this id.",
    "maxBWPerGB": "Bandwidth limit in bytes per second and GiB, enforced by the node; 0: none.",
    "maxBackends": "Number of storage nodes that the licence allows; absent: any number.",
    "maxIOPS": "IOPS limit, enforced by each node of the volume; 0: none.",
    "maxIOPSPerGB": "IOPS limit per GiB, enforced by the node; 0: none.",
    "maxReplicaDownTime": "Minutes after which a replica that is Missing is replaced; 0: never.",
    "message": "The text of the record.",
    "mgmtIPs": "Management addresses of the storage node, tried in order.",
    "mgmtPort": "Management port of the storage node.",
    "moving": "Number of replicas that are being moved now.",
    "multipath": "Whether the host uses several paths to a target.",
    "name": "Display name.",
    "StorageClassInput.name": "Name of the storage class.",
    "TagInput.name": "Name of the parameter.",
    "TagOutput.name": "Name of the parameter.",
    "namespaceId": "NVMe namespace id of the volume in this target.",
    "newCapacity": "New size in GiB. It must be greater than the current size.",
    "newestGeneration": "The greatest generation of all writes that the node remembers. If it is "
    "greater than the database's last one, writes are barred.",
    "nqn": "NQN by which the host connects to targets.",
    "numNamespaces": "Number of namespaces of the target.",
    "numReplicas": "Number of replicas of the volume.",
    "StorageClassInput.numReplicas": "Number of replicas to create: 1 to 3, each on a different "
    "node.",
    "numSSDs": "Number of SSDs that the node had.",
    "numVolumes": "Number of replicas on the node.",
    "numberOfSSDs": "Number of SSDs of the node.",
    "offset": "Number of objects to skip at the beginning.",
    "parametersList": "Parameters of the record, which become its structured data (RFC 5424).",
    "persistentID": "Permanent id of the storage node.",
    "persistentId": "Permanent id of the storage node.",
    "port": "Port that the node's targets listen on.",
    "portals": "Addresses and ports of the node's targets.",
    "progress": "Progress of the task in percent.",
    "provisioner": "The present settings for probes of the node.",
    "provisionerClientID": "Client id with which this server gets its own tokens.",
    "provisionerClientScope": "Scope that this server requests.",
    "provisionerClientSecret": f"Secret of `provisionerClientID`. {_ADMINS}",
    "provisionerResourceID": "Resource for which tokens have the roles of this API.",
    "publicKey": "PEM of the key that verifies tokens.",
    "pushInterval": "Seconds between two probes.",
    "rack": "Rack of the node.",
    "ReplicaInput.racks": "Only in these racks; empty: the racks of the volume's constraints.",
    "racks": "Only in these racks; empty: in any rack.",
    "reason": "The reason, as a text.",
    "region": "Region of the node.",
    "ReplicaInput.regions": "Only in these regions; empty: the regions of the volume's "
    "constraints.",
    "regions": "Only in these regions; empty: in any region.",
    "repId": "The replica to move; absent: one on a cordoned node, otherwise the oldest.",
    "replicaID": "Uuid of the replica.",
    "replicaState": "`Available`, `Synchronizing` or `Missing`, as the host sees the replica.",
    "replicaUuid": "Uuid of the replica.",
    "replicable": "Whether the volume may have several replicas.",
    "reservedSpacePercentage": "Space to reserve, in percent of the capacity; 0 or absent: the "
    "default.",
    "resourceID": "Resource for which the node's tokens have the role `NODE`.",
    "sameRackAllowed": "Whether two replicas may lie in one rack.",
    "scope": "Scope to request.",
    "sessions": "Hosts that are connected to this replica now.",
    "shareSSDBetweenVolumes": "`false`: no SSD that holds a volume of the same storage class.",
    "snapshotID": "Uuid of the snapshot.",
    "snapshotUuid": "Uuid of the snapshot.",
    "sourceVolumeId": "Uuid of the volume to clone.",
    "ssdID": "Id of the SSD.",
    "ssdName": "Name of the SSD.",
    "state": "State of the syslog server; only those that are `true` get records.",
    "SampledBackendOutput.state": "State of the storage node when the sample was taken.",
    "statusDescription": "The result, as a text.",
    "stoppable": "Whether `PUT /tasks` with the state `ABORTED` stops the task.",
    "storageClass": "Replicas, placement and limits.",
    "storageClassName": "Name of the storage class.",
    "subVolumes": "The parts of the replica, one on each SSD.",
    "syslogsBackend": "The syslog servers in the configuration of the pool's nodes.",
    "tags": "Changed property: `id`, `version`, `state` or `numSSDs`.",
    "ProvisionerInput.tags": "Settings that the reference does not have.",
    "targetDriverVersion": "Version of the node's NVMe-oF target.",
    "targetName": "NQN of the target.",
    "taskConfiguration": "Parameters of the task, as pairs of name and value.",
    "taskId": "Id of the task.",
    "taskStatus": "Result code of a task that has ended.",
    "tasks": "The tasks that move replicas now.",
    "tenantId": "Id of the tenant. In a path it may be left out.",
    "TenantInput.tenantId": "Id of the new tenant; absent: this server chooses one. It must not "
    "be the first segment of a path of this API.",
    "tokenURL": "Address that issues tokens for client credentials.",
    "totalBW": "Bandwidth of the node in bytes per second.",
    "TenantInput.totalBW": "Budget in bytes per second; 0: no limit. It is counted, not enforced.",
    "TenantBudgetInput.totalBW": "Budget in bytes per second; 0: no limit. It is counted, not "
    "enforced.",
    "totalCapacity": "Size of the node in bytes.",
    "totalIOPS": "IOPS of the node.",
    "TenantInput.totalIOPS": "Budget of IOPS; 0: no limit. It is counted, not enforced.",
    "TenantBudgetInput.totalIOPS": "Budget of IOPS; 0: no limit. It is counted, not enforced.",
    "TenantOutput.totalIOPS": "Budget of IOPS; 0: no limit.",
    "transport": "Transport of the portal: `TCP_IP` or `RoCEv2`.",
    "type": "Type of the task.",
    "LicenseOutput.type": "Type of the licence.",
    "url": "Address.",
    "ProvisionerInput.url": "Address to which the node sends its probes.",
    "ProvisionerOutput.url": "Address to which the node sends its probes.",
    "SyslogOutput.url": "Address of the syslog server.",
    "useTls": "Whether records are sent over TLS.",
    "UserOutput.roles": "Roles of the user: `ADMIN`, `MONITOR` and others.",
    "usedBW": "Bandwidth in use on the node, in bytes per second.",
    "usedIOPS": "IOPS in use on the node.",
    "usedNamespacesIds": "Namespace ids that the host uses.",
    "HostOutput.usedNamespacesIds": "Namespace ids that the host uses. If the host serves all "
    "tenants, a caller bound to a tenant sees only those of the tenant's volumes.",
    "uuid": "Uuid of the replica.",
    "HostOutput.uuid": "Id of the host.",
    "VolumeInput.uuid": "Uuid of the new volume; absent: this server chooses one.",
    "VolumeOutput.uuid": "Uuid of the volume.",
    "VolumeExtendedOutput.uuid": "Uuid of the volume.",
    "value": "Value of the parameter.",
    "version": "Version of the node's software.",
    "HostOutput.version": "Version of the agent or driver that last probed the host.",
    "HostProbeInput.version": "Version of the agent or driver that probes.",
    "InfoOutput.version": "Level of this API, which clients check.",
    "volId": "Uuid of the volume.",
    "volumeID": "Uuid of the volume.",
    "SnapshotVolumeInput.volumeID": "Uuid of the new volume; absent: this server chooses one.",
    "volumeId": "Uuid of the new volume; absent: this server chooses one.",
    "volumeUuid": "Uuid of the volume.",
    "waitsFor": "Reason why the drain waits, as a text; absent: the drain does not wait.",
    "writable": "Whether hosts may write to the volume.",
    "zone": "Zone of the node.",
    "ReplicaInput.zones": "Only in these zones; empty: the zones of the volume's constraints.",
    "zones": "Only in these zones; empty: in any zone.",
}

OPERATIONS: dict[str, str] = {
    "auth_server.list": "The configured authorization server, or `{}`. Secrets are shown to "
    "administrators only.",
    "auth_server.create": "Fetch a token for this server and one for the storage nodes, verify "
    "both, and send the settings to all nodes. Then accept tokens of this "
    "authorization server and refuse local tokens. An administrator with a "
    "password can still undo this.",
    "auth_server.destroy": "Return to local tokens, and send this setting to all nodes.",
    "backends.list": "All storage nodes of the pool.",
    "backends.retrieve": "One storage node, as a list of one; an empty list if there is none.",
    "backends.create": "Call a storage node at its management addresses, read its identity, SSDs "
    "and portals, make it send its probes to this server, and add it to the "
    "pool.",
    "backends.update": "Change the given fields and leave the others; null or an empty text clears "
    "a field. `inUse` = `false` cordons the node: no new replica is placed on it.",
    "backends.destroy": "Remove a storage node without volumes from the pool. With `force`, an "
    "Unavailable node with volumes is removed too: their replicas on it "
    "become Missing.",
    "clone_volume.create": "Create a thin volume with the content of another volume, on the same "
    "storage node. It is independent of the source, which may be deleted.",
    "connect.create": "Request the agent of a host to attach a volume that is published to the "
    "host, as a task. When the task is done, the tag `path` names the block "
    "device.",
    "disconnect.create": "Request the agent of a host to disassemble the array of a volume, as a "
    "task. Then unpublish the volume.",
    "documentation.swagger": "This description as a page, by Swagger UI, from local files.",
    "documentation.redoc": "This description as a page, by Redoc, from local files.",
    "drain.create": "Cordon a storage node and move all its replicas to other nodes, a few at a "
    "time. Replicas that cannot move now are tried again.",
    "drain.retrieve": "Progress of a drain: the number of replicas that are moving and that are "
    "left, and the reasons why some cannot be moved.",
    "drain.destroy": "Stop a drain. `inUse` of the node gets its former value. Replicas that are "
    "moving stay on the node.",
    "forward_log.create": "Send a record to all syslog servers of the pool (RFC 5424). It is kept "
    "and sent again while a server does not accept it.",
    "healthz.list": "Whether the process answers. For supervisors.",
    "host_probe.create": "Report that a host is running. The first probe registers the host. "
    "Hosts send a probe every `duration` seconds.",
    "hosts.list": "All hosts that have probed.",
    "hosts.destroy": "Remove an Unavailable host. Its volumes are unpublished first.",
    "info.list": "Level of the API, mode of authentication and free space of the pool. Needs no "
    "credentials.",
    "inventory.list": "The latest samples of the inventory, with the changes from one sample to "
    "the next. The call also starts a task that takes a new sample.",
    "inventory.destroy": "Delete all samples and read every storage node again, as a task.",
    "license.list": "Terms of the installed licence.",
    "license.create": "Verify a licence and install it on all storage nodes, as a task. Waits up "
    "to 10 seconds for the result. Answers LicenseError while another licence is being installed.",
    "maintenance.retrieve": "List the volumes that would lose redundancy or access if the storage "
    "node stopped now. Changes nothing.",
    "events.list": "Events of the pool by ascending number, each with its objects, its actor and "
    "its reason. With `follow`, the answer is a stream (`text/event-stream`): the "
    "`id` of each message is the number of the event, and its `data` the event as "
    "in the list. A stream ends after five minutes; clients continue it with "
    "`Last-Event-ID`. HTTP 429: too many callers follow already. Callers that are "
    "bound to a tenant see the events of their tenant.",
    "metrics.list": "State of the pool and counters of this server, in the text format of "
    "Prometheus.",
    "migrate_volume.create": "Move a replica to another storage node, as a task. The host moves "
    "it if it has an agent, otherwise this server does.",
    "openapi.list": "This description.",
    "probe.create": "Report the state of a storage node. Nodes send a probe every `pushInterval` "
    "seconds, and at once after a change. The answer contains the settings that "
    "the node must have.",
    "publish.create": "Make a volume accessible to a host: each replica becomes a namespace of "
    "the host's target. Publishing a volume again creates exports that are "
    "missing on nodes.",
    "readyz.list": "Whether the process can serve: the database accepts writes, and the process "
    "is not being stopped. For load balancers.",
    "replicas.create": "Add a replica on another storage node. The host of a published volume "
    "rebuilds it. For an unpublished volume it is copied from node to node, as a task.",
    "replicas.mark": "Mark a replica for removal: it becomes Terminating. Its host confirms with "
    "DELETE. A replica of an unpublished volume is removed at once.",
    "replicas.confirm": "Confirm that the host no longer uses a Terminating replica, which is then "
    "removed from its node.",
    "replicas.report": "Report the state of a replica as the host sees it.",
    "revoked_tokens.list": "Tokens that are refused although they have not expired.",
    "revoked_tokens.create": "Revoke a token, by its id or by the token itself.",
    "snapshot_volumes.create": "Make the content of a snapshot accessible as a volume, read-only "
    "or writable. A snapshot has one such volume at most.",
    "snapshots.list": "All snapshots that the caller may see.",
    "snapshots.retrieve": "One snapshot, as a list of one; an empty list if there is none.",
    "snapshots.by_volume": "All snapshots of a volume.",
    "snapshots.by_alias": "All snapshots with this alias, at most one for each tenant.",
    "snapshots.create": "Create a snapshot of a volume with one replica.",
    "snapshots.destroy": "Delete a snapshot that has no snapshot volume.",
    "syslog.list": "The syslog servers in the configuration of the pool's nodes.",
    "targets.list": "Targets of the hosts: all, those of a host, or those of a volume. With both, "
    "one entry for the target. If Cinder's driver probed the host last and the caller does not "
    "have the role HOST, one entry for each node, with its backend.",
    "tasks.list": "All tasks, the tasks that a host carries out, or one task. Hosts read their "
    "tasks every second.",
    "tasks.update": "Report the progress of a task, end it, or stop it with the state `ABORTED`.",
    "tasks.destroy": "Remove a task that has ended from the list.",
    "tenants.list": "Tenants with their budgets and the used part of them.",
    "tenants.create": "Add a tenant with its budget.",
    "tenants.update": "Change the budget of a tenant. It cannot be less than the used part.",
    "tenants.destroy": "Delete a tenant that has no volumes.",
    "token.create": "Issue a token to the user whose name and password are given. A token cannot "
    "be used to get another token.",
    "unpublish.create": "Unpublish a volume from a host, or from all hosts if none is named. Also "
    "works while the host is Unavailable.",
    "users.list": "The local users, with their roles and tenants.",
    "volumes.list": "All volumes that the caller may see.",
    "volumes.retrieve": "One volume, as a list of one; an empty list if there is none.",
    "volumes.by_alias": "All volumes with this alias, at most one for each tenant.",
    "volumes.extended": "One volume with the SSDs of its replicas and the connected hosts.",
    "volumes.create": "Choose storage nodes by the rules of the storage class, reserve the space "
    "and create the replicas.",
    "volumes.update": "Expand a volume on all its replicas, or on none. Hosts see the new size at "
    "once. The request is refused while a replica is Missing or is being "
    "rebuilt.",
    "volumes.destroy": "Delete a volume that is not published and has no snapshots. An "
    "Unavailable node removes its replica when it is back.",
}


def field_description(serializer: str, field: str) -> str:
    """Return the description of a field of a request or an answer. Empty: it has none."""
    return FIELDS.get(f"{serializer}.{field}") or FIELDS.get(field, "")
