"""The transports of portals."""

TCP, RDMA = "TCP_IP", "RoCEv2"
"""The names in the node API and in our API. The software of hosts takes any other name for TCP."""

TRTYPES = {TCP: "tcp", RDMA: "rdma"}
"""The names that the kernel, nvme-cli and configuration files use."""
