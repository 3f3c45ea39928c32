"""What the services share: how they are configured, served, traced, stored, and how they call each other."""
