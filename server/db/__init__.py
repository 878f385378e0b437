"""The ground floor: engine, declarative base, unit of work and migrations. Knows no noun."""
