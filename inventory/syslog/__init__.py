"""The syslog protocol: records (RFC 5424) and their transports. It does not depend on Django."""
