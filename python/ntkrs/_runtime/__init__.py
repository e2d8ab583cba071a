"""The only place that asks the system: threads, versions, terminals, packages that may be missing."""
