"""Which settings are in force, and why."""
