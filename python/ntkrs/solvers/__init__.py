"""Linear systems with kernel matrices: Cholesky factors, and the round-off of eigenvalues."""
