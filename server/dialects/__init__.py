"""The APIs of others, over the use cases of this one: they add no rule of their own. See ADR 39."""
