"""The only place that queries the system: threads, versions, terminals, optional packages."""
