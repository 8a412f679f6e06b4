"""The saga that creates a new replica, as an additional one or to replace another one."""
