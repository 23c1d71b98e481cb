"""Methods of torch's Tensor that are not here: asking for one says what it is and what to use."""

from __future__ import annotations

from typing import Any, NoReturn

ABSENT = """
absolute_ acosh acosh_ addbmm_ addmm_ addmv_ addr_ adjoint angle apply_ arccos_ arccosh arccosh_ arcsin_ arcsinh
arcsinh_ arctan2_ arctan_ arctanh arctanh_ as_strided as_strided_ as_strided_scatter as_subclass asinh asinh_ atan2_
atanh atanh_ baddbmm_ bfloat16 bitwise_not_ cauchy_ ccol_indices cdouble cfloat chalf cholesky cholesky_inverse
cholesky_solve coalesce col_indices conj conj_physical conj_physical_ const_data_ptr copysign copysign_ corrcoef cov
cross crow_indices cummax cummin cumprod_ cumsum_ data_ptr deg2rad deg2rad_ dense_dim dequantize det diagflat
diagonal_scatter diff digamma digamma_ dim_order divide_ eig eq_ erfc erfc_ erfinv erfinv_ exp2 exp2_ fix_ float_power
float_power_ fmax fmin frac frac_ frexp gcd gcd_ ge_ geometric_ geqrf grad_dtype greater_ greater_equal_ gt_ hardshrink
hash_tensor heaviside heaviside_ histc histogram hypot hypot_ i0 i0_ igamma igamma_ igammac igammac_ imag index
index_put index_put_ index_reduce index_reduce_ indices int_repr inverse ipu is_coalesced is_conj is_cpu is_distributed
is_inference is_ipu is_maia is_meta is_mkldnn is_mtia is_neg is_nested is_nonzero is_pinned is_same_size is_set_to
is_shared is_signed is_sparse_csr is_vulkan is_xla isneginf isposinf isreal istft layout lcm lcm_ ldexp ldexp_ le_
less_ less_equal_ lgamma lgamma_ log_normal_ logaddexp logaddexp2 logcumsumexp logdet logical_and_ logical_not_
logical_or_ logical_xor_ logit logit_ lstsq lt_ lu lu_solve mH map2_ map_ matrix_exp matrix_power mode module_load mtia
multiply_ mvlgamma mvlgamma_ name nanmedian nanquantile narrow_copy ne_ negative_ new_empty_strided nextafter
nextafter_ nonzero_static not_equal_ orgqr ormqr output_nr pin_memory pinverse polygamma polygamma_ positive prelu put
put_ q_per_channel_axis q_per_channel_scales q_per_channel_zero_points q_scale q_zero_point qr qscheme quantile rad2deg
rad2deg_ real record_stream register_post_accumulate_grad_hook reinforce renorm renorm_ resize resize_ resize_as
resize_as_ resize_as_sparse_ resolve_conj resolve_neg retains_grad row_indices scatter_reduce scatter_reduce_
select_scatter set_ sgn sgn_ share_memory_ signbit sinc sinc_ slice_inverse slice_scatter slogdet smm solve sparse_dim
sparse_mask sparse_resize_ sparse_resize_and_clear_ split_with_sizes sspaddmm stft storage storage_offset storage_type
subtract_ sum_to_size svd symeig to_dense to_mkldnn to_padded_tensor to_sparse to_sparse_bsc to_sparse_bsr
to_sparse_coo to_sparse_csc to_sparse_csr triangular_solve true_divide_ unsafe_chunk unsafe_split
unsafe_split_with_sizes untyped_storage values vdot volatile xlogy xlogy_ xpu
"""


class Absent:
    """Raises AttributeError for one of them, so that `hasattr` says False.

    A `__getattr__` of Tensor would say the same, and would slow down every attribute.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, x: object, kind: Any = None) -> NoReturn:
        from tinyconv.torch_names.answers import answer

        raise AttributeError(f"'Tensor' object has no attribute {self.name!r}{answer('Tensor', self.name)}")
