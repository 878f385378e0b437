"""Where the truth is kept: engine, tables, migrations and the one unit of work."""
