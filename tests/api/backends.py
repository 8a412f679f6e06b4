"""Helpers of the tests of ``/backends``."""

SUCCESS = {"status": "Success", "description": "Success"}
TIB = 2**40


def body(node, **fields):
    return {"mgmtIPs": [node.address], "mgmtPort": node.port} | fields


def add(api, node, **fields):
    answer = api.post("/backends", body(node, **fields))
    assert answer.status == "Success", answer.description
    return answer.body["persistentID"]


def shown(api, persistent_id):
    [backend] = api.get(f"/backends/{persistent_id}").body
    return backend


def settings_of(node):
    return node.agent.provisioner


def refused(answer, code, description):
    assert (answer.http, answer.status) == (200, code)
    assert answer.description == description
    return True
