"""Calls that type checkers refuse: one error on each line with a mark."""

import ntkrs

kernel = ntkrs.mlp(depth=1, width=8, outputs=1).kernel()
net = ntkrs.mlp(depth=1, width=8, outputs=1).init(in_features=2)
f = ntkrs.predict.gradient_descent_mse(kernel([[1.0]]), [1.0])

str(ntkrs.kernl)  # refused
kernel("abc")  # refused
kernel(["a", "b"])  # refused
kernel(None)  # refused
kernel({"x": 1.0})  # refused
kernel([[1.0]], get="NTK")  # refused
kernel([[1.0]], "ntk")  # refused
str(kernel([[1.0]], get=("nngp", "ntk")).nkt)  # refused
net("abc")  # refused
net.ntk([[1.0]], outputs="all")  # refused
f("end")  # refused
str(f(t=1.0).mean_)  # refused
ntkrs.predict.gp_inference(kernel, [[1.0]], [1.0])([[1.0]], get="gp")  # refused

ensemble = ntkrs.predict.gradient_descent_mse_ensemble(kernel, [[1.0]], [1.0])
ensemble("end")  # refused
ensemble(get="ntkgp")  # refused
str(ensemble(get=("nngp", "ntk")).ntgk)  # refused
