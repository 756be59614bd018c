//! Everything that can go wrong, with the place in the caller's data.

use std::path::PathBuf;

/// Result with this crate's [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong and where. Rows, columns, layers and entries are counted from 0.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A slice has the wrong number of values.
    #[error("{what}: {found} values where {expected} are needed")]
    Length {
        /// The argument at fault.
        what: String,
        /// The number of values needed.
        expected: usize,
        /// The number of values given.
        found: usize,
    },
    /// Rows of `width` values each do not fill the slice evenly.
    #[error("{what}: {found} values do not divide into rows of {width}")]
    Ragged {
        /// The argument at fault.
        what: String,
        /// Values per row.
        width: usize,
        /// The number of values given.
        found: usize,
    },
    /// Something that must hold at least one value holds none.
    #[error("{what} is empty")]
    Empty {
        /// The argument at fault.
        what: String,
    },
    /// A matrix has a cell that is NaN or infinite.
    #[error("{what}: row {row}, column {column} is {value}, which is not a finite number")]
    NotFiniteCell {
        /// The argument at fault.
        what: String,
        /// Row, from 0.
        row: usize,
        /// Column, from 0.
        column: usize,
        /// The value found.
        value: f64,
    },
    /// A vector or a computed quantity is NaN or infinite.
    #[error("{what}: entry {index} is {value}, which is not a finite number")]
    NotFinite {
        /// The quantity at fault.
        what: String,
        /// Entry, from 0.
        index: usize,
        /// The value found.
        value: f64,
    },
    /// A value lies outside its range.
    #[error("{what} is {value}; it must be {range}")]
    OutOfRange {
        /// The quantity at fault.
        what: String,
        /// The value found.
        value: f64,
        /// The range in words.
        range: &'static str,
    },
    /// Too few rows (or replicates) for the estimate.
    #[error("{what}: {found} given, at least {needed} are needed")]
    TooFew {
        /// What there is too little of.
        what: String,
        /// The least number that works.
        needed: usize,
        /// The number given.
        found: usize,
    },
    /// A column does not vary, so it has no scale.
    #[error("column {column} is constant, so it cannot be scaled")]
    ConstantColumn {
        /// Column, from 0.
        column: usize,
    },
    /// A column index is out of range or named twice.
    #[error("selected column {column} is {fault} (there are {available} columns)")]
    Column {
        /// Column, from 0.
        column: usize,
        /// The number of columns there are.
        available: usize,
        /// `out of range` or `named twice`.
        fault: &'static str,
    },
    /// More principal components asked for than the centred data has.
    #[error("{asked} principal components asked for, but the centred data has rank {rank}")]
    Rank {
        /// The number asked for.
        asked: usize,
        /// The number there are.
        rank: usize,
    },
    /// The singular value decomposition did not converge or overflowed.
    #[error("the singular value decomposition failed: the data may be too large in magnitude")]
    Svd,
    /// A latent space with no dimensions, no layers, or more values than fit in memory.
    #[error("latent space: {fault}")]
    Space {
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A layer is out of range.
    #[error("layer {layer} is out of range: the space has {layers} layers")]
    Layer {
        /// The layer asked for, from 0.
        layer: usize,
        /// The number of layers there are.
        layers: usize,
    },
    /// A layer list such as `0-7,9` could not be read.
    #[error("`{text}` is not a list of layers such as `0-7,9`")]
    LayerSyntax {
        /// The text as given.
        text: String,
    },
    /// A layer mask touches no layer, or none that the direction still has.
    #[error("the layer mask leaves no layer to edit")]
    EmptyMask,
    /// A layer mask for a space without layers.
    #[error("the space {space} has no layers to mask")]
    NoLayers {
        /// The space in words.
        space: String,
    },
    /// A mask for a direction that was projected in the metric of the data. What goes along with an
    /// attribute depends on the layers that may move, so the mask comes first.
    #[error(
        "a direction conditioned in the data cannot be restricted to layers: restrict it first, then condition it"
    )]
    MaskAfterProjection,
    /// All model coefficients are zero: the model knows no direction.
    #[error("all {count} coefficients are zero, so the model names no direction")]
    ZeroCoefficients {
        /// The number of coefficients.
        count: usize,
    },
    /// The direction is zero where the edit may act.
    #[error("{what} is zero, so it has no direction")]
    ZeroDirection {
        /// Which vector is zero.
        what: &'static str,
    },
    /// The modelled risk does not change along the direction, so no dose exists.
    #[error("the modelled risk does not change along this direction (slope {slope:e})")]
    ZeroSlope {
        /// Log hazard per unit step.
        slope: f64,
    },
    /// A direction lies in the span of the attributes it is conditioned on.
    #[error("nothing is left of the direction once the conditioned attributes are removed")]
    InSpan,
    /// A replicate of the bootstrap failed in the caller's fit.
    #[error("bootstrap replicate {replicate}: {source}")]
    Replicate {
        /// Replicate, from 0.
        replicate: usize,
        /// What the caller's fit reported.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file could not be written; nothing was left behind.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file was read, but its content is not a valid direction.
    #[error("{}: {source}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with its content.
        source: Box<Error>,
    },
    /// The bytes are not a safetensors file.
    #[error("not a safetensors file: {reason}")]
    NotSafetensors {
        /// What the reader stumbled over.
        reason: String,
    },
    /// The safetensors writer refused.
    #[error("cannot encode as safetensors: {0}")]
    Encode(#[from] safetensors::SafeTensorError),
    /// A tensor that the format requires is absent.
    #[error("tensor `{name}` is missing")]
    MissingTensor {
        /// The tensor.
        name: String,
    },
    /// A tensor has the wrong element type or number of dimensions.
    #[error("tensor `{name}` is {found}, expected {expected}")]
    Tensor {
        /// The tensor.
        name: String,
        /// Type and dimensions needed.
        expected: &'static str,
        /// Type and shape found.
        found: String,
    },
    /// The metadata entry with the description of the direction is absent.
    #[error("metadata entry `{key}` is missing")]
    MissingMetadata {
        /// The entry.
        key: &'static str,
    },
    /// The metadata entry could not be understood.
    #[error("metadata entry `{key}`: {reason}")]
    Metadata {
        /// The entry.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The file was written by a version of the format that this crate does not know.
    #[error("format version {found} is not supported (this version reads {supported})")]
    FormatVersion {
        /// The version in the file.
        found: u64,
        /// The version this crate reads and writes.
        supported: u64,
    },
    /// Two parts of a file contradict each other.
    #[error("{what} is {stored} in the file, but its other parts give {computed}")]
    Inconsistent {
        /// The quantity in question.
        what: &'static str,
        /// What the file says.
        stored: f64,
        /// What follows from the rest of the file.
        computed: f64,
    },
}
