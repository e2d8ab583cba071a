"""Layers of networks: dense ones and convolutions with their scales, pools, and the heads that end images."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, TypeAlias

from ntkrs._checks import numbers
from ntkrs._checks.advice import absent, other_names, shown
from ntkrs.errors import UnknownScalesError


class Affine:
    """The scales of a layer with weights and biases, and at which of them it learns."""

    sigma_w: float | None
    sigma_b: float | None
    trainable: bool
    tau_b: float | None

    def _store_scales(self) -> None:
        """Check the scales, which are known, and store them as float."""
        sigma_w, sigma_b = numbers.positive(self.sigma_w, "sigma_w"), numbers.real(self.sigma_b, "sigma_b")
        if sigma_b < 0:
            raise ValueError(f"sigma_b is {sigma_b}, but must be >= 0 (0: no biases)")
        object.__setattr__(self, "sigma_w", sigma_w)
        object.__setattr__(self, "sigma_b", sigma_b + 0.0)  # -0.0 and 0.0 are one value

    def _check_learning(self) -> None:
        """Check which parameters are trained, and store the scale of the biases as float, or None if it is sigma_b."""
        if not isinstance(self.trainable, bool):
            raise TypeError(f"trainable is {self.trainable!r}, but must be True or False")
        if self.tau_b is not None:
            tau_b = numbers.real(self.tau_b, "tau_b")
            if tau_b < 0:
                raise ValueError(f"tau_b is {tau_b}, but must be >= 0 (0: biases that are not trained)")
            object.__setattr__(self, "tau_b", None if tau_b == self.sigma_b else tau_b + 0.0)

    def _shown_scales(self) -> str:
        """Return the part of the repr that all layers with scales have."""
        extras = "" if self.trainable else ", trainable=False"
        extras += "" if self.tau_b is None else f", tau_b={self.tau_b}"
        return f"sigma_w={self.sigma_w}, sigma_b={self.sigma_b}{extras}"

    @property
    def has_bias(self) -> bool:
        """True if the layer has biases, whether or not they are trained."""
        return self.sigma_b is None or self.sigma_b > 0 or bool(self.tau_b)

    @property
    def scales(self) -> tuple[float, float]:
        """The scales (σ_w, σ_b).

        Raises
        ------
        ValueError
            If they are unknown. The message says which scales other libraries start from.
        """
        if self.sigma_w is None or self.sigma_b is None:
            raise UnknownScalesError(f"{self!r} has unknown scales. {UNKNOWN_SCALES}")
        return self.sigma_w, self.sigma_b

    @property
    def bias_scale(self) -> float:
        """The factor of the biases in a finite network: ``tau_b`` if it is given and not 0, otherwise ``sigma_b``."""
        return self.tau_b or self.scales[1]

    def learning_scales(self, parameterization: str, inputs: int) -> tuple[float, float]:
        """Return the learning scales (τ_w, τ_b) of a layer with n ``inputs``.

        The layer adds ``τ_w² ⟨x,x'⟩/n + τ_b²`` to a tangent kernel, where x and x' are its inputs.

        Raises
        ------
        ValueError
            If ``tau_b`` is given and not 1 and the parameterization is "standard", or if it is "ntk" and the scales are
            unknown.
        """
        if not self.trainable:
            return 0.0, 0.0
        if parameterization == "ntk":
            sigma_w, sigma_b = self.scales
            return sigma_w, sigma_b if self.tau_b is None else self.tau_b
        if self.tau_b not in (None, 1):
            raise ValueError(f"{self!r} has tau_b, but in standard parameters biases learn at the scale 1")
        return inputs**0.5, 1.0 if self.has_bias else 0.0

    def tied_scales(self, parameterization: str) -> tuple[bool, bool]:
        """Return a pair for the learning scales: True if τ_w equals σ_w and changes with it; the same for τ_b, σ_b."""
        ours = self.trainable and parameterization == "ntk"
        return ours, ours and self.tau_b is None


@absent(
    activation="Activations are layers of their own: Sequential(Dense(64), Relu(), Dense(1)).",
    parameterization="It is chosen for all layers: arch.kernel('standard').",
    bias="A layer has biases where sigma_b is above 0.",
    use_bias="A layer has biases where sigma_b is above 0.",
    in_features="It is that of the layer before, and of X.",
)
@other_names(W_std="sigma_w", b_std="sigma_b", units="width", out_dim="width", out_features="width")
@dataclass(frozen=True, repr=False)
class Dense(Affine):
    """A dense layer, ``h = sigma_w/√n · x W + sigma_b · b``, with every entry of W and b drawn from N(0, 1).

    Here n is the number of inputs of the layer.

    Parameters
    ----------
    width : int
        The number of units. An infinite-width kernel ignores it.
    sigma_w : float or None
        Scale of the weights, positive. None if it is unknown, as in networks that :mod:`ntkrs.convert` reads: a trained
        model does not record what its parameters were drawn from. Kernels at infinite width and ``init`` refuse such a
        layer. A network in the standard parameterization does not need its scales.
    sigma_b : float or None
        Scale of the biases; 0 for a layer without biases. None for a layer with biases if ``sigma_w`` is None.
    trainable : bool
        If False, the layer is not trained, and adds nothing to a tangent kernel. A finite network holds its parameters
        all the same, and derivatives with respect to them are 0.
    tau_b : float, optional
        Scale at which the biases learn, by default ``sigma_b``. If it is given, a finite network holds and trains b'
        with ``tau_b · b' = sigma_b · b``, drawn from N(0, (sigma_b/tau_b)²). With 0, it holds b and does not train it.
        Biases that start at 0 and are trained, as in Keras and Flax, have ``sigma_b=0.0, tau_b=1.0``.

    Raises
    ------
    TypeError, ValueError
        If an argument is not a number, or out of its domain.

    Examples
    --------
    >>> from ntkrs import Dense, Sequential
    >>> Sequential(Dense(1, sigma_w=2.0, sigma_b=1.0)).kernel()([[3.0]])  # sigma_w² ⟨x,x'⟩/n_0 + sigma_b²
    array([[37.]])
    """

    width: int
    sigma_w: float | None = 1.0
    sigma_b: float | None = 0.0
    trainable: bool = True
    tau_b: float | None = None

    def __post_init__(self) -> None:
        """Check the arguments, and store numbers as int and float."""
        width = numbers.integer(self.width, "width")
        if width < 1:
            raise ValueError(f"width is {width}, but a dense layer has at least 1 unit")
        object.__setattr__(self, "width", width)
        self._check_scales()
        self._check_learning()

    def _check_scales(self) -> None:
        """Check the scales, and store them as float, or None if they are unknown."""
        if self.sigma_w is None:
            if self.sigma_b not in (None, 0) or self.tau_b is not None:
                raise ValueError(
                    f"sigma_w is None, but sigma_b is {self.sigma_b!r} and tau_b is {self.tau_b!r}. Where sigma_w is "
                    "unknown, tau_b must be None too, and sigma_b None, or 0 for a layer without biases."
                )
            object.__setattr__(self, "sigma_b", None if self.sigma_b is None else 0.0)
            return
        if self.sigma_b is None:
            raise ValueError(f"sigma_b is None, but sigma_w is {self.sigma_w!r}: scales are known or unknown together")
        self._store_scales()

    def __repr__(self) -> str:
        return f"Dense(width={self.width}, {self._shown_scales()})"


#: The part of messages that tells from which scales models start, and how to fill them in.
UNKNOWN_SCALES = (
    "A trained model does not tell what its parameters were drawn from. By default a layer of n inputs and m outputs "
    "starts in PyTorch from sigma_w² = 1/3 and sigma_b² = 1/(3n), in Keras from sigma_w² = 2n/(n + m) and biases of 0, "
    "in Flax from sigma_w² = 1 and biases of 0, in scikit-learn from sigma_w² = 2n/(n + m) and sigma_b² = 2/(n + m) (a "
    "third of both for logistic). ntkrs.convert.init_scales gives these. Pass scales='torch', 'keras', 'flax', "
    "'sklearn', or (sigma_w, sigma_b) to the function of ntkrs.convert that reads the model."
)


@absent(
    dilation="Windows are dense: a larger window holds the pixels of a dilated one.",
    groups="All channels are summed: there are no grouped convolutions.",
    transposed="There are no transposed convolutions.",
)
@other_names(
    W_std="sigma_w",
    b_std="sigma_b",
    filters="channels",
    out_chan="channels",
    out_channels="channels",
    filter_shape="window",
    kernel_size="window",
    stride="strides",
)
@dataclass(frozen=True, repr=False)
class Conv(Affine):
    """A convolution, ``h_p = sigma_w/√(k n) · Σ_τ x_{p+τ} W_τ + sigma_b · b``, every entry of W_τ and b from N(0, 1).

    Here p is a pixel of the output, τ runs over the k pixels of the window, and n is the number of channels of the
    input. Sums are divided by k at the border too, where the window covers zeros of the padding.

    Parameters
    ----------
    channels : int
        The number of channels of the output. An infinite-width kernel ignores it.
    window : int or (int, int)
        The rows and columns of the window.
    strides : int or (int, int)
        The step of the window from one pixel of the output to the next.
    padding : {"same", "valid", "circular"}
        "same" pads with zeros so that n pixels give ``⌈n/stride⌉``, with the smaller half of them in front, as
        TensorFlow and JAX do. "valid" does not pad. "circular" continues the image periodically; the stride must then
        divide the number of pixels, and no "valid" layer may stand before it, unless a pool lies between them.
    sigma_w, sigma_b : float
        Scales of the weights, positive, and of the biases; 0 for a layer without biases.
    trainable : bool
        If False, the layer is not trained, and adds nothing to a tangent kernel.
    tau_b : float, optional
        Scale at which the biases learn, by default ``sigma_b``, as for :class:`Dense`.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of its domain, or names something that is not here, such as ``dilation``.

    Notes
    -----
    One-dimensional signals are images (N, L, 1, C), with windows (w, 1).

    References
    ----------
    Novak et al. (2019); Garriga-Alonso et al. (2019); Arora et al. (2019).

    Examples
    --------
    >>> from ntkrs import Conv, Dense, GlobalAvgPool, Relu, Sequential
    >>> Sequential(Conv(64, (3, 3), sigma_w=2**0.5), Relu(), GlobalAvgPool(), Dense(10)).layers[0]
    Conv(channels=64, window=(3, 3), sigma_w=1.4142135623730951, sigma_b=0.0)
    """

    channels: int
    window: int | tuple[int, int]
    _: KW_ONLY
    strides: int | tuple[int, int] = 1
    padding: str = "same"
    sigma_w: float = 1.0
    sigma_b: float = 0.0
    trainable: bool = True
    tau_b: float | None = None

    def __post_init__(self) -> None:
        """Check the arguments, and store numbers as int and float, sizes as pairs."""
        channels = numbers.integer(self.channels, "channels")
        if channels < 1:
            raise ValueError(f"channels is {channels}, but a convolution has at least 1 channel")
        object.__setattr__(self, "channels", channels)
        object.__setattr__(self, "window", _sides(self.window, "window"))
        object.__setattr__(self, "strides", _sides(self.strides, "strides"))
        numbers.choice(self.padding, "padding", ("same", "valid", "circular"))
        self._store_scales()
        self._check_learning()

    def __repr__(self) -> str:
        geometry = f"channels={self.channels}, window={self.window}"
        geometry += "" if self.strides == (1, 1) else f", strides={self.strides}"
        geometry += "" if self.padding == "same" else f", padding={self.padding!r}"
        return f"Conv({geometry}, {self._shown_scales()})"


@absent(padding="Pools do not pad: rows and columns that do not fill a window are left out.")
@other_names(pool_size="window", window_shape="window", kernel_size="window", stride="strides")
@dataclass(frozen=True, repr=False)
class AvgPool:
    """Average pooling: the mean of every window of each channel.

    Parameters
    ----------
    window : int or (int, int)
        The rows and columns of the window.
    strides : int or (int, int), optional
        The step of the window, by default its size. Rows and columns that do not fill a window are left out.

    Raises
    ------
    TypeError, ValueError
        If a size is not a positive integer or a pair of them.

    Notes
    -----
    A convolution may follow. Its kernel then starts from sums over windows of pairs of pixels: images that are nearly
    equal, with 1 − ρ between 0 and 10⁻⁶, lose half of their digits in the NTK of activations with a kink, up to 10⁻⁷ of
    √(K_ii K_jj). Equal images, flat areas and all others keep the digits of networks without pools.

    Examples
    --------
    >>> from ntkrs import AvgPool
    >>> AvgPool(2)
    AvgPool(window=(2, 2))
    """

    window: int | tuple[int, int]
    strides: int | tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check the sizes, and store them as pairs."""
        window = _sides(self.window, "window")
        object.__setattr__(self, "window", window)
        object.__setattr__(self, "strides", window if self.strides is None else _sides(self.strides, "strides"))

    def __repr__(self) -> str:
        strides = "" if self.strides == self.window else f", strides={self.strides}"
        return f"AvgPool(window={self.window}{strides})"


@dataclass(frozen=True)
class Flatten:
    """The head that takes the channels of all pixels as features of the dense layer that follows.

    The dense layer has one weight for every channel and pixel, so its kernel is the mean of those of equal pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import Conv, Dense, Flatten, Identity, Sequential
    >>> arch = Sequential(Conv(8, 1), Identity(), Flatten(), Dense(1))  # ⟨x,x'⟩/n_0 of all pixels and channels
    >>> arch.kernel()(np.full((1, 2, 2, 1), 3.0), get="nngp")
    array([[9.]])
    """


@dataclass(frozen=True)
class GlobalAvgPool:
    """The head that takes the mean of each channel over all pixels.

    The kernel of the dense layer that follows is the mean over all pairs of pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from ntkrs import Conv, Dense, GlobalAvgPool, Identity, Sequential
    >>> arch = Sequential(Conv(8, 1), Identity(), GlobalAvgPool(), Dense(1))
    >>> arch.kernel()(np.array([[[[1.0], [2.0]]]]), get="nngp")  # one image of 1 × 2 pixels, whose mean is 1.5
    array([[2.25]])
    """


def _sides(value: Any, name: str) -> tuple[int, int]:
    """Return a size in rows and columns: both equal if ``value`` is an integer.

    Raises
    ------
    TypeError, ValueError
        If it is not a positive integer, or a pair of them.
    """
    if isinstance(value, list | tuple):
        if len(value) != 2:
            hint = {
                1: f" For one-dimensional signals, images (N, L, 1, C), it is {(*value, 1)}.",
                3: " There are no three-dimensional convolutions.",
            }.get(len(value), "")
            raise ValueError(f"{name} is {shown(value)}, but rows and columns are needed, or one integer.{hint}")
        rows, columns = (numbers.integer(side, name) for side in value)
    else:
        rows = columns = numbers.integer(value, name)
    if min(rows, columns) < 1:
        raise ValueError(f"{name} is {shown(value)}, but rows and columns of at least 1 are needed")
    return rows, columns


#: A layer of images.
ImageLayer: TypeAlias = Conv | AvgPool | Flatten | GlobalAvgPool
