//! What each operation of ONNX is in a graph.

mod activation;
mod convolution;
mod creation;
mod elementwise;
mod index;
mod logic;
mod matrix;
mod normalisation;
mod pooling;
mod reduction;
mod shape;
mod spatial;

use super::{
    builder::Builder,
    call::Call,
    error::{refuse, Reason},
    operand::Operand,
};

/// The outputs of a node, or why there are none.
type Outcome = Result<Vec<Operand>, Reason>;

type Operation = fn(&mut Builder, &Call) -> Outcome;

/// The operations that are supported, by family.
#[rustfmt::skip]
const SUPPORTED: &[(&str, Operation)] = &[
    ("Add", elementwise::add), ("Sub", elementwise::sub), ("Mul", elementwise::mul),
    ("Div", elementwise::div), ("Mod", elementwise::modulo), ("Pow", elementwise::pow),
    ("Min", elementwise::min), ("Max", elementwise::max), ("Sum", elementwise::total),
    ("Mean", elementwise::mean),
    ("Neg", elementwise::neg), ("Abs", elementwise::abs), ("Sqrt", elementwise::sqrt),
    ("Reciprocal", elementwise::reciprocal), ("Exp", elementwise::exp), ("Log", elementwise::log),
    ("Sin", elementwise::sin), ("Cos", elementwise::cos), ("Erf", elementwise::erf),
    ("Tanh", elementwise::tanh), ("Sigmoid", elementwise::sigmoid),
    ("Identity", elementwise::identity), ("Cast", elementwise::cast),
    ("CastLike", elementwise::cast_like), ("Dropout", elementwise::dropout),

    ("Relu", activation::relu), ("LeakyRelu", activation::leaky_relu), ("PRelu", activation::prelu),
    ("Elu", activation::elu), ("Selu", activation::selu), ("Celu", activation::celu),
    ("Gelu", activation::gelu), ("HardSigmoid", activation::hard_sigmoid),
    ("HardSwish", activation::hard_swish), ("Mish", activation::mish),
    ("Softplus", activation::softplus), ("Softsign", activation::softsign),
    ("Swish", activation::swish), ("ThresholdedRelu", activation::thresholded_relu),
    ("Clip", activation::clip), ("Softmax", activation::softmax),
    ("LogSoftmax", activation::log_softmax),

    ("Where", logic::choose), ("Equal", logic::equal), ("Less", logic::less),
    ("LessOrEqual", logic::less_or_equal), ("Greater", logic::greater),
    ("GreaterOrEqual", logic::greater_or_equal), ("Not", logic::not), ("And", logic::and),
    ("Or", logic::or), ("Xor", logic::xor), ("IsNaN", logic::is_nan),

    ("MatMul", matrix::matmul), ("Gemm", matrix::gemm), ("Einsum", matrix::einsum),
    ("Conv", convolution::conv), ("ConvTranspose", convolution::conv_transpose),
    ("MaxPool", pooling::max_pool), ("AveragePool", pooling::average_pool),
    ("GlobalAveragePool", pooling::global_average_pool),
    ("GlobalMaxPool", pooling::global_max_pool),

    ("BatchNormalization", normalisation::batch), ("LayerNormalization", normalisation::layer),
    ("GroupNormalization", normalisation::group),
    ("InstanceNormalization", normalisation::instance),
    ("RMSNormalization", normalisation::root_mean_square),

    ("ReduceSum", reduction::sum), ("ReduceMean", reduction::mean), ("ReduceMax", reduction::max),
    ("ReduceMin", reduction::min), ("ReduceProd", reduction::product),
    ("ReduceL1", reduction::l1), ("ReduceL2", reduction::l2),
    ("ReduceSumSquare", reduction::sum_square), ("ReduceLogSumExp", reduction::log_sum_exp),

    ("Reshape", shape::reshape), ("Flatten", shape::flatten), ("Transpose", shape::transpose),
    ("Squeeze", shape::squeeze), ("Unsqueeze", shape::unsqueeze), ("Expand", shape::expand),
    ("Tile", shape::tile), ("Concat", shape::concat), ("Split", shape::split),
    ("Slice", shape::slice), ("Pad", shape::pad), ("Trilu", shape::trilu),
    ("SplitToSequence", shape::split_to_sequence), ("SequenceAt", shape::sequence_at),
    ("SequenceConstruct", shape::sequence_construct),
    ("ConcatFromSequence", shape::concat_from_sequence),
    ("Gather", index::gather), ("GatherElements", index::gather_elements),
    ("GatherND", index::gather_nd),

    ("Constant", creation::constant), ("ConstantOfShape", creation::constant_of_shape),
    ("Shape", creation::shape), ("Size", creation::size), ("Range", creation::range),
];

/// The names of the operations that are supported.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SUPPORTED.iter().map(|(name, _)| *name)
}

/// What a node computes.
pub(super) fn apply(builder: &mut Builder, call: &Call) -> Outcome {
    let name = &call.node.op_type;
    if !matches!(call.node.domain.as_str(), "" | "ai.onnx") {
        refuse!(
            "operations of domain {:?} are not supported, only those of ONNX itself",
            call.node.domain
        );
    }
    match SUPPORTED.iter().find(|(known, _)| known == name) {
        Some((_, operation)) => operation(builder, call),
        None => {
            let names: Vec<&str> = names().collect();
            refuse!(
                "the operation is not supported; these are: {}",
                names.join(", ")
            )
        }
    }
}
