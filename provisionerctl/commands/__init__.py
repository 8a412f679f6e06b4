"""The commands. Each noun has a module."""
