"""The syslog protocol: records (RFC 5424) and their transports; knows no Django."""
