"""Assembles a storage node on SPDK."""

from inventory.nodes.agent.agent import Agent
from inventory.nodes.agent.app import make_app
from inventory.nodes.agent.database import Database
from inventory.nodes.agent.service import AgentService
from inventory.nodes.engines.spdk.engine import SpdkEngine
from inventory.nodes.engines.spdk.node_config import NodeConfig
from inventory.nodes.engines.spdk.rpc import SpdkRpc

STATE_FILE = "node.sqlite3"


def open_database(config: NodeConfig) -> Database:
    """The agent's database, in the node's state folder, which must exist."""
    return Database(config.spdk.state_folder / STATE_FILE)


def make_service(config: NodeConfig, database: Database) -> AgentService:
    """Create the service. Call it in the event loop that will run it.

    :raises OSError: a certificate cannot be read, or the port is in use.
    """
    rpc = SpdkRpc(config.spdk.socket)
    engine = SpdkEngine(rpc, config.spdk)
    agent = Agent(config.identity, engine, database)
    return AgentService(agent, engine, make_app(token=config.token), config.tls.context())
