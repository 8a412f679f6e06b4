"""Shared steps of the tests of probes."""

TIB = 2**40


def report(persistent_id, **fields):
    """Return a probe for a node of the fleet, as the reference prints it, including its unusual
    names.
    """
    return {
        "persistentID": persistent_id,
        "availableCapacity": 1920315949046,
        "usedBW": 100000000000,
        " totalBW ": 4_525_654_016,
        "usedIOPS": "129039487386",
        " totalIOPS ": 348_600,
        "mgmtIPs": ["192.168.1.1"],
        "provisioner": {
            "inUse": True,
            "url": "https://192.168.1.2:30100",
            "pushInterval": 60,
            "tags": [{"name": "rack", "value": "Dev"}],
            "authorizationServerPublicKey": "BIGLONGSTRING",
            "backendsClientSecret": "secret",
        },
        "totalCapacity": 4 * TIB,
        "version": "3.17.13465",
        " numberOfSSDs ": 4,
        " Certified ": True,
        " mgmtPort ": 443,
        "targetDriverVersion": "3.22.1b-15757",
        "changes": 0,
        "authenticationMode": "OPEN_IDC",
    } | fields
