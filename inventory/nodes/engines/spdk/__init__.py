"""The engine ``spdk``: logical volumes, NVMe-oF targets and copies, over SPDK's JSON-RPC socket."""
