"""Who may ask, what it costs, where it waits and where it ends up."""
