"""The names of torch functions and methods, grouped by the rule for their relevance."""

from captum_cams.relevance.marks import Gate


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LAYERS = _words("conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear")
MATRIX_PRODUCTS = _words("matmul rmatmul linalg_matmul mm bmm mv tensordot addmm baddbmm addmv")
PRODUCTS = _words("mul rmul imul multiply div idiv truediv itruediv divide")
SUMS = _words("add radd iadd sub subtract isub rsub")
NORMS = _words("batch_norm layer_norm group_norm instance_norm rms_norm normalize")
STATISTICS = _words("std var norm linalg_norm linalg_vector_norm rsqrt sqrt")
POWERS = _words("pow square")
MASKS = _words("where masked_fill")
GATES = {"sigmoid": Gate.OPENING, "hardsigmoid": Gate.OPENING, "softmax": Gate.OPENING, "tanh": Gate.SIGNED}
FLOORS = _words("relu relu6 hardtanh threshold clamp_min")
CEILINGS = _words("relu6 hardtanh clamp_max")
ELEMENTWISE = (
    NORMS
    | FLOORS
    | CEILINGS
    | GATES.keys()
    | _words("clamp clip silu hardswish gelu elu celu selu leaky_relu prelu rrelu softplus softsign mish logsigmoid")
    | _words("hardshrink softshrink tanhshrink neg negative positive pos")
    | _words("dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout feature_dropout")
)
POOLS = _words("sum mean interpolate") | {
    f"{kind}_pool{d}d" for kind in ("avg", "max", "adaptive_avg", "adaptive_max") for d in (1, 2, 3)
}
COMPARISONS = _words("gt lt ge le eq ne greater less greater_equal less_equal not_equal")
EXTREMA = _words("max maximum fmax amax min minimum fmin")
JOINING = _words("cat concat concatenate stack hstack vstack dstack column_stack row_stack")
REARRANGING = JOINING | _words(
    """
    chunk split tensor_split hsplit vsplit dsplit unbind getitem narrow select index_select take_along_dim gather
    flatten unflatten view view_as reshape reshape_as ravel permute transpose t swapaxes swapdims movedim moveaxis
    contiguous clone unsqueeze squeeze expand expand_as broadcast_to repeat repeat_interleave tile roll flip fliplr
    flipud rot90 unfold pad diagonal atleast_1d atleast_2d atleast_3d adjoint alias
    channel_shuffle native_channel_shuffle pixel_shuffle pixel_unshuffle
    get set requires_grad to type type_as float double half bfloat16 cpu cuda
    """
)
