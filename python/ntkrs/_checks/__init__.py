"""The only place that converts or refuses users' values. It knows kernels and networks by Protocols alone."""
