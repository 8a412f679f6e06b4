"""The syslog protocol: records (RFC 5424) and their transports. Does not depend on Django."""
