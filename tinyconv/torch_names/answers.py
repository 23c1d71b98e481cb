"""What is said of a name of PyTorch's that is not here: what it is, and what to use instead.

`FAMILIES` has a row for names of one kind, not for each name; `answer` takes the first whose pattern fits.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

from tinyconv.torch_names import where


class Family(NamedTuple):
    """Names of one kind: a pattern that their names match as a whole, what they are, and what to use instead.

    `owners` are the places where the pattern applies, if not everywhere: modules of ours, or `Tensor`.
    """

    what: str
    instead: str
    pattern: str
    owners: tuple[str, ...] = ()
    example: str = ""


TC, NN, F, TENSOR = "tinyconv", "tinyconv.nn", "tinyconv.functional", "Tensor"
OPTIM, SCHEDULES, DATA = "tinyconv.optim", "tinyconv.optim.lr_scheduler", "tinyconv.data"
DISTRIBUTIONS = "tinyconv.torch_modules.distributions"
TRANSFORMS, VISION = "tinyconv.data.transforms", "tinyconv.data.vision"
TORCHVISION, MODELS = "tinyconv.torch_modules.torchvision", "tinyconv.models.torchvision"
_MODULES = ("data", "functional", "init", "lr_scheduler", "nn", "optim", "utils")  # others are files of ours
_NUMPY = "has it, for x.numpy() and without gradients"

FAMILIES = (
    Family(
        "of torchvision",
        "datasets, models, transforms and utils are here",
        r"ops|io|tv_tensors|[gs]et_(image|video)_\w+|draw_\w+",
        (TORCHVISION, "tinyconv.data.grid"),
        example="tc.torchvision.ops",
    ),
    Family(
        "a model of torchvision's",
        "ResNets, VGGs and AlexNet are here; the source of torchvision's others, as a file of your own, runs here",
        r"[A-Za-z]\w+",
        (MODELS,),
        example="tc.torchvision.models.mobilenet_v2",
    ),
    # Layers and whole fields that are not here.
    Family(
        "a recurrent layer",
        "none is here; a convolution over time (conv1d) reads sequences",
        r"(quantized_)?(LSTM|GRU|RNN|lstm|gru|rnn)(Base|Cell|CellBase|_cell|_tanh|_relu|_tanh_cell|_relu_cell)?|miopen_rnn|"
        r"mkldnn_rnn_layer|PackedSequence|(un)?pack_sequence|pad(_packed)?_sequence|unpad_sequence|pack_padded_sequence|rnn",
        example="nn.LSTM",
    ),
    Family(
        "attention",
        "softmax(q @ k.transpose(-2, -1) / d**0.5, -1) @ v is what it computes",
        r"scaled_dot_product_attention|multi_head_attention_forward|MultiheadAttention|Transformer\w*|attention",
        example="F.scaled_dot_product_attention",
    ),
    Family(
        "for volumes, of three spatial axes",
        "one and two spatial axes are here, conv1d and conv2d",
        r"\w*3d|\w*3d_with_indices|channels_last_3d",
        example="nn.Conv3d",
    ),
    Family(
        "for quantised tensors",
        "float16 halves the memory, model.to(dtype=tinyconv.float16)",
        r"quantiz\w*|\w*quantize\w*|q_\w+|q?u?int\dx\d|qu?int\d+|q(at|scheme)|int_repr|per_(tensor|channel)_\w+|fbgemm_\w+|"
        r"\w*fake_quant\w*|choose_qparams\w*|ao|QU?[Ii]nt\w+Storage|intrinsic|empty_quantized|quantized",
        example="tc.quantize_per_tensor",
    ),
    Family(
        "for sparse tensors",
        "tensors are dense here; scipy.sparse has sparse ones, without gradients",
        r"sparse\w*|\w+_sparse\w*|is_coalesced|coalesce|s?spaddmm|[hds]+p?mm|saddmm|spmm|smm|c?col_indices\w*|"
        r"c?row_indices\w*|crow_indices\w*|indices(_copy)?|values(_copy)?|dense_dim|to_dense|SparseAdam|is_sparse_csr",
        example="x.to_sparse",
    ),
    Family(
        "for nested or masked tensors",
        "pad to one shape with F.pad",
        r"nested|masked|jagged|is_nested|to_padded_tensor",
        example="tc.nested",
    ),
    Family(
        "for complex numbers",
        "tensors are real here; NumPy has them, without gradients",
        r"complex\w*|c(float|double|half)|is_complex|(is_)?conj\w*|resolve_(conj|neg)|is_neg|real|imag|angle|polar|isreal|"
        r"view_as_(real|complex)\w*|m?H|adjoint|ComplexFloatStorage|ComplexDoubleStorage",
        example="tc.complex64",
    ),
    Family(
        "a Fourier transform, or for one",
        f"numpy.fft {_NUMPY}",
        r"fft|i?stft|signal|(bartlett|blackman|hamming|hann|kaiser)_window|has_spectral",
        example="tc.fft",
    ),
    Family(
        "linear algebra",
        f"numpy.linalg {_NUMPY}",
        r"linalg|cholesky\w*|\w*det|slogdet|eig|symeig|qr|lu|lu_\w+|svd\w*|lstsq|geqrf|or[gm]qr|pinverse|inverse|solve|"
        r"triangular_solve|matrix_(exp|power|rank)|lobpcg|pca_lowrank|nuclear_norm|frobenius_norm|trace|kron|cross|"
        r"(lda_)?chain_matmul|has_lapack|vander|cov|corrcoef|householder_product",
        example="tc.linalg",
    ),
    Family(
        "a special function",
        f"scipy.special {_NUMPY}",
        r"special|m?v?lgamma_?|digamma_?|polygamma_?|igammac?_?|erfinv_?|i0_?|sinc_?|x?logy_?|xlogy_?|nextafter_?|"
        r"frexp|ldexp_?|gcd_?|lcm_?|heaviside_?|logaddexp2|logcumsumexp",
        example="x.lgamma",
    ),
    Family(
        "a random distribution",
        "tinyconv.from_numpy makes a tensor of numbers that numpy.random.default_rng() draws",
        r"(cauchy|geometric|log_normal)_|poisson|binomial|multinomial|quasirandom",
        example="tc.poisson",
    ),
    Family(
        "a dtype that is not here, or for products of float8",
        "bool, integers, float16, float32 and float64 are here",
        r"\w*scaled_\w*mm|grouped_mm|ScalingType|SwizzleType|float[48]_\w+|bits?\d\w*|bit|u?int[1-7]|bfloat16|"
        r"BFloat16\w+|uint(16|32|64)|float8\w*",
        example="tc.bfloat16",
    ),
    Family(
        "for functions of functions",
        "write it with a batch axis; tinyconv.autograd.functional has jvp, vjp, jacobian and hessian",
        r"vmap|func",
        example="tc.vmap",
    ),
    # What runs a program.
    Family(
        "for several machines or processes",
        "tinyconv.distributed.run starts processes that share a training; nn.DataParallel shares a batch among threads",
        r"distributed(_\w+)?|is_distributed|DistributedSampler|rpc|multiprocessing|share_memory_|is_shared|"
        r"Distributed\w+|futures|fork|wait|Future\w*|prepare_multiprocessing_environment|get_file_path",
        example="tc.multiprocessing",
    ),
    Family(
        "of TorchScript, fx or the compiler",
        "a model is Python here, and tinyconv.jit.script and tinyconv.compile return it as it is",
        r"\w*Type|Sym\w+|sym_\w+|Script\w+|Lite\w+|parse_\w+|import_ir\w*|merge_type\w*|unify_type\w*|Graph\w*|Node|Block|"
        r"Value|Use|Code|CompilationUnit|\w*Argument\w*|Alias\w*|Benchmark\w*|ThroughputBenchmark|CallStack|Capsule|"
        r"ConcreteModule\w*|\w*Logger\w*|DeepCopyMemoTable|\w+StorageContext|Dispatch\w*|DisableTorchFunction\w*|"
        r"ErrorReport|ExcludeDispatch\w*|ExecutionPlan|FatalError|FileCheck|FunctionSchema|Gradient|IODescriptor|"
        r"JITException|OperatorInfo|PyTorchFile\w+|StaticModule|Tag|TracingState|Type|AggregationType|AVG|SUM|cond|"
        r"while_loop|compiler|library|ops|classes|package|PRIVATE_OPS|init_num_threads|"
        r"boolean_dispatch|BroadcastingList\d|assert_int_or_pair|\w*torch_function\w*|has_torch_function\w*|_?overrides|"
        r"unsafe_\w+|\w+_copy|native_\w+|result_type\w*|DType|set_module|backcompat|RRefType|BufferDict",
        example="tc.compiler",
    ),
    Family(
        "for devices other than CPU and CUDA",
        "device is 'cpu', 'cuda' or 'meta' here",
        r"xpu|mtia|ipu|is_(ipu|maia|mtia|vulkan|xla|xpu|mkldnn|mps)|is_vulkan_available|windows|cpu|DeviceObjType|to_mkldnn|"
        r"mkldnn_\w+|cudnn_\w+|miopen_\w+|has_mkl|has_openmp|get_device_module|privateuse1|\w*privateuse1\w*|cpp|monitor",
        example="tc.xpu",
    ),
    Family(
        "for streams, events and CUDA graphs",
        "a GPU works in order here; tinyconv.capture makes a CUDA graph of a step",
        r"\w*Stream\w*|Event|record_stream|graph|graphs|CUDAGraph|thread_safe_generator|AcceleratorError|pin_memory|is_pinned",
        (TC, TENSOR, "tinyconv.cuda", "tinyconv.torch_modules.cuda"),
        example="tc.Stream",
    ),
    Family(
        "of mixed precision",
        "convert model and data, model.to(dtype=tinyconv.float16)",
        r"\w*autocast\w*",
        example="tc.set_autocast_enabled",
    ),
    Family(
        "a setting of torch's",
        "there is nothing to set here",
        r"set_(warn_always|flush_denormal|deterministic_debug_mode|anomaly_enabled|default_tensor_type)|"
        r"(get_)?deterministic_debug_mode|get_deterministic_debug_mode|is_(warn_always|deterministic)_\w*|"
        r"is_deterministic_algorithms_warn_only_enabled|is_warn_always_enabled|is_anomaly\w*|compiled_with_cxx11_abi|"
        r"USE_\w+|torch_version|profiler_allow\w*|tf32_notes|reproducibility_notes|sparse_support_notes|"
        r"sym_constrain\w*|return_types|functional_datapipe|typename|classproperty|types|"
        r"convert_conv\dd_weight_memory_format|memory_format",
        example="tc.set_warn_always",
    ),
    Family(
        "a downloader",
        "fetch the file yourself, and tinyconv.load reads it",
        r"\w+",
        ("tinyconv.saving.hub",),
        example="tc.hub.download_url_to_file",
    ),
    Family(
        "about the memory below a tensor",
        "x.numpy() shows it, and x.clone() copies it",
        r"\w*Storage\w*|\w*storage\w*|data_ptr|const_data_ptr|as_strided\w*|set_|resize\w*|empty_(strided|permuted)|from_file|"
        r"frombuffer|is_set_to|dim_order|stride|new|as_subclass|serialization|\w*DLPack|to_dlpack|hash_tensor|module_load|"
        r"memory_format|layout|strided|is_same_size|output_nr|grad_dtype|name|volatile|retains_grad|reinforce",
        (TC, TENSOR),
        example="x.data_ptr",
    ),
    Family(
        "what calls Python for each element",
        "write it with whole tensors, or with NumPy",
        r"apply_|map2?_|register_post_accumulate_grad_hook",
        (TENSOR,),
        example="x.apply_",
    ),
    # Functions of tensors.
    Family(
        "a statistic",
        f"NumPy {_NUMPY}",
        r"cumsum_?|(nan)?(median|quantile|mode|sum|mean)|histc|histogram\w*|bincount|kthvalue|unique_consecutive|bucketize|"
        r"searchsorted|cum(max|min|prod_?|ulative_trapezoid)|trapezoid|trapz|diff|gradient|msort|renorm_?|segment_reduce|"
        r"aminmax|count_nonzero|combinations|cartesian_prod|(std|var)_mean|norm_except_dim|histogramdd|dist|pdist|cdist",
        example="x.mode",
    ),
    Family(
        "a product of matrices, added to something",
        "write it with @ and +",
        r"add(bmm|mm|mv|r|cdiv|cmul)_?|baddbmm_?|inner|vdot|ger|tensordot|einsum|block_diag|bilinear|Bilinear|_addmm\w*|"
        r"conv_tbc|rsub",
        example="tc.block_diag",
    ),
    Family(
        "picking or putting elements",
        "index with x[...], tinyconv.gather and where",
        r"index_\w+|index|put_?|take|take_along_dim|masked_\w+|\w+_scatter|scatter\w*|select|narrow|nonzero_static|argwhere|"
        r"diag\w*|fill_diagonal_|slice_inverse|tri[lu]_indices|unravel_index|isin",
        (TC, TENSOR),
        example="x.index_put_",
    ),
    Family(
        "rearranging axes or parts",
        "reshape, permute, cat, stack and split are here",
        r"[dhv]split|tensor_split|(row|column|d|h|v)_?stack|atleast_\dd|moveaxis|movedim|swap(axes|dims)_?|rot90|fliplr|"
        r"flipud|mT|t_|transpose_|squeeze_|unsqueeze_|ravel|repeat_interleave|split_with_sizes|sum_to_size|broadcast_\w+|"
        r"expand_as|unfold|block_diag|narrow\w*|ndimension|reshape_as|swap_tensors",
        (TC, TENSOR),
        example="tc.swap_tensors",
    ),
    Family(
        "a function of each element",
        f"arithmetic makes most; NumPy {_NUMPY}",
        r"arc\w+|a?(sin|cos|tan)h?_?|atan2_?|(absolute|ceil|floor|round|trunc|fix|frac|sign|sgn|signbit|copysign|exp2|expm1|"
        r"log10|log2|log1p|logit|erf|erfc|rsqrt|reciprocal|square|negative|positive|deg2rad|rad2deg|hypot|fmod|fmin|fmax|"
        r"remainder|float_power|floor_divide|true_divide|divide|multiply|subtract|lerp|nan_to_num|clamp_m\w+|clip|"
        r"logical_\w+|greater\w*|less\w*|not_equal|isclose|isinf|isneginf|isposinf|logaddexp|sinc)_?",
        (TC, TENSOR),
        example="tc.hypot",
    ),
    Family(
        "makes a tensor",
        "tinyconv.zeros, full, arange, linspace, rand and tensor are here",
        r"new_\w+|(scalar|as)_tensor|logspace|range|randint_like|from_dlpack|asarray|empty\w*|normal|bernoulli_?|linspace|eye|meshgrid|constant_pad_nd|fill",
        (TC, TENSOR),
        example="tc.scalar_tensor",
    ),
    Family(
        "about the seed",
        "tinyconv.manual_seed sets it, and a tinyconv.Generator has its own",
        r"default_generator|(initial_)?seed",
        example="tc.initial_seed",
    ),
    Family(
        "a dtype, or about one",
        "dtypes are NumPy's here, and so is numpy.can_cast, promote_types and result_type",
        r"can_cast|is_cpu|is_meta|legacy_contiguous_format|promote_types|result_type|is_(signed|inference\w*|storage|nonzero)|itemsize|nbytes|byte|char|short|half|type|"
        r"finfo|iinfo|dtype|type_as",
        (TC, TENSOR),
        example="tc.promote_types",
    ),
    # Layers.
    Family(
        "a dropout",
        "dropout, dropout1d, dropout2d and alpha_dropout are here, in tinyconv.functional",
        r"(?i)(feature_)?(alpha_)?dropout(_|3d)?",
        example="tc.feature_dropout",
    ),
    Family(
        "a pooling",
        "max and average pooling are here, max_pool2d, avg_pool2d and the adaptive ones",
        r"(?i)(adaptive_?)?(max|avg)_?pool\dd(_with_indices)?|(fractional_?max|lp)_?pool\dd(_with_indices)?|max_?unpool\dd",
        example="nn.FractionalMaxPool2d",
    ),
    Family(
        "a normalisation",
        "batch_norm, layer_norm, group_norm and local_response_norm are here",
        r"(?i)batch_norm_\w+|(lazy)?(batch|instance|group|rms|layer|crossmaplrn|cross_?map_?lrn)_?(norm)?(\dd)?",
        example="nn.CrossMapLRN2d",
    ),
    Family(
        "a loss",
        "cross_entropy, mse_loss, huber_loss, kl_div and eighteen more are here; write another as a formula",
        r"(?i)\w*_?loss(2d|wrapper|withloss|options)?|ctc_loss|AdaptiveLogSoftmaxWithLoss|linear_?cross_?entropy\w*",
        example="nn.CTCLoss",
    ),
    Family(
        "resampling of images",
        "F.interpolate, F.grid_sample and F.pixel_shuffle are here",
        r"(?i)(up)?sampl\w+|upsample\w*|interpolate|grid_?sampl\w*|affine_grid\w*|pixel_(un)?shuffle|pixel(un)?shuffle|"
        r"(channel|native_channel)_?shuffle|GRID_SAMPLE_\w+",
        example="F.upsample_nearest",
    ),
    Family(
        "of embeddings",
        "nn.Embedding is here, and a sum or mean along an axis of what it gives",
        r"(?i)embedding(_?bag|_renorm_)",
        example="nn.EmbeddingBag",
    ),
    Family(
        "a container, or for layers that are not finished",
        "Sequential, ModuleList, ParameterList and LazyLinear are here; a buffer goes through register_buffer",
        r"Container|Uninitialized\w+|Buffer|factory_kwargs|common_types|grad",
        (NN, TC, F),
        example="nn.Buffer",
    ),
    # Training.
    Family(
        "an optimiser",
        "SGD, Adam, AdamW, RMSprop, Adagrad, Adadelta, Adamax, NAdam, RAdam and Muon are here",
        r"ASGD|Adafactor|LBFGS|Rprop|swap_in_\w+",
        (OPTIM,),
        example="tc.optim.LBFGS",
    ),
    Family(
        "the text of a warning",
        "schedule.step(epoch) gives none here",
        r"EPOCH_\w+",
        (SCHEDULES,),
        example="tc.optim.lr_scheduler.EPOCH_DEPRECATION_WARNING",
    ),
    Family(
        "for reading data in other ways",
        "DataLoader and Dataset are here",
        r"\w*(Sampler|Dataset|DataPipe|Chunk)|default_c\w+|datapipes?|\w*datapipes\w*|graph\w*|sampler|dataloader|dataset|"
        r"get_worker_info|random_split|argument_validation|runtime_validation\w*|non_deterministic|data_chunk|DataChunk",
        (DATA,),
        example="tc.data.ChainDataset",
    ),
    Family(
        "a transform of pictures",
        "PIL does it to a picture: transforms.Lambda(function), or any function in Compose",
        r"AugMix|AutoAugment\w*|ColorJitter|ElasticTransform|FiveCrop|TenCrop|GaussianBlur|LinearTransformation|RandAugment|"
        r"Random(AdjustSharpness|Affine|Autocontrast|Choice|Equalize|Erasing|Invert|Order|Perspective|Posterize|"
        r"Solarize)|TrivialAugmentWide|autoaugment|transforms",
        (TRANSFORMS,),
        example="transforms.ColorJitter",
    ),
    Family(
        "what is done to a picture",
        "PIL does it to a picture",
        r"(adjust|affine|auto|elastic|equalize|erase|five|gaussian|invert|perspective|posterize|rgb|solarize|ten)\w*|"
        r"get_\w+",
        ("tinyconv.data.transforms_functional",),
        example="transforms.functional.adjust_hue",
    ),
    Family(
        "a dataset of pictures",
        "MNIST, FashionMNIST, CIFAR10, FakeData and ImageFolder are here; a Dataset of your own reads others",
        r"\w+",
        (VISION,),
        example="vision.CIFAR100",
    ),
    Family(
        "a distribution, or about one",
        "Normal, Uniform, Bernoulli and Categorical are here; numpy.random.default_rng() draws from others",
        r"\w+",
        (DISTRIBUTIONS,),
        example="tc.distributions.Gamma",
    ),
    # The rest.
    Family(
        "prints tensors otherwise",
        "numpy.set_printoptions, and print(x.numpy())",
        r"set_printoptions",
        (TC,),
    ),
    Family(
        "the default device",
        "with tinyconv.device('cuda'): is a block in which tensors are made there",
        r"[gs]et_default_device|get_device",
    ),
    Family(
        "weights that are computed",
        "nn.utils.parametrize is here, with weight_norm and spectral_norm: it computes a weight by any module",
        r"prune|parametri\w+|orthogonal|\w*(spectral|weight)_norm|stateless|skip_init",
        ("tinyconv.nn", "tinyconv.nn.utils", "tinyconv.nn.parametrize", "tinyconv.nn.parametrizations"),
        example="nn.utils.prune",
    ),
    Family(
        "of the inside of autograd",
        "tinyconv.autograd has Function, grad, backward, functional and detect_anomaly",
        r"NestedIOFunction|SavedTensor|anomaly_mode|forward_ad|grad_mode|graph|is_tensor_like|"
        r"\w*(layout_policy|view_replay|multithreading)\w*",
        ("tinyconv.autograd",),
        example="tc.autograd.graph",
    ),
    Family(
        "for two layers that become one",
        "the two layers give the same",
        r"fus(e_\w+|ion)",
        ("tinyconv.nn.utils",),
        example="nn.utils.fuse_conv_bn_eval",
    ),
    Family(
        "for watching a run",
        "tinyconv.profile and tinyconv.trace show it",
        r"\w*[Pp]rofiler\w*|kineto_available|utils|bottleneck",
    ),
    Family(
        "a writer for TensorBoard",
        "tensorboardX, a package that needs no PyTorch, has a SummaryWriter for numbers and for x.numpy()",
        r"tensorboard",
        ("tinyconv.torch_modules.utils",),
        example="tc.utils.tensorboard",
    ),
    Family("a convolution", "tinyconv.functional has conv1d, conv2d and their transposes", r"convolution", (TC,)),
    Family("the export of models", "tinyconv.onnx.export writes ONNX, tinyconv.save weights as safetensors", r"export"),
    Family("None", "x[:, None] is the same", r"newaxis"),
)


def answer(owner: str, name: str) -> str:
    """What follows on "no NAME" in a message, where `owner` (`tinyconv.nn`, `Tensor`) lacks it; "" if it is unknown.

    A name that is here in another place comes first: `tinyconv.conv2d` is `tinyconv.functional.conv2d`.
    """
    if name.startswith("_"):
        return ""
    if found := where(owner):
        owner = f"tinyconv.{found}"
    for place in _elsewhere(owner, name):
        return f": it is {place}"
    if name.endswith("_") and not name.startswith("_") and _has(TENSOR, name[:-1]) and owner in (TENSOR, TC):
        return f", which writes into its input: x = x.{name[:-1]}(...)"
    for family in FAMILIES:
        if (not family.owners or owner in family.owners) and re.fullmatch(family.pattern, name):
            return f", {family.what}: {family.instead}"
    return ""


def _elsewhere(owner: str, name: str) -> Iterator[str]:
    """Where else the name is, among what is imported. What torchvision calls so is something else."""
    for place in (
        ()
        if owner in (TRANSFORMS, VISION, TORCHVISION, MODELS)
        else (TC, NN, F, OPTIM, SCHEDULES, DATA, "tinyconv.nn.init", "tinyconv.nn.utils", TENSOR)
    ):
        if place != owner and _has(place, name):
            yield f"a method: x.{name}(...)" if place == TENSOR else f"{place}.{name}"


def _has(place: str, name: str) -> bool:
    """Whether a place has a name, which is not asked of its `__getattr__`."""
    if place == TENSOR:
        return callable(getattr(sys.modules["tinyconv"].Tensor, name, None))
    found = vars(sys.modules[place]) if place in sys.modules else {}
    if name not in found or name not in found.get("__all__", found):
        return False
    return name in _MODULES or not isinstance(found[name], ModuleType)
