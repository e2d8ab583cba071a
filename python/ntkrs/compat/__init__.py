"""The interfaces of other libraries, for code that was written for them. None is imported before it is asked for."""
