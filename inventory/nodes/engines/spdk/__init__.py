"""Storage nodes on SPDK: logical volumes, NVMe-oF targets, copies; over its JSON-RPC socket."""
