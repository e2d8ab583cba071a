"""The only place that converts or rejects users' values. It knows kernels and networks only by their Protocols."""
