"""The operators that a foreign graph may use: what computes from its inputs alone.

The list is an allow-list. What reads or writes files (`ReadFile`, `WriteFile`, `SaveV2`, readers, datasets,
`PrintV2` with its `file://` streams, `ImmutableConst`, `DecodeProtoV2`), talks (`Send`, `Recv`, `RpcCall`), runs
Python (`PyFunc`), compiled blobs (`XlaCallModule`, `XlaCustomCall`), keeps state (queues, mutable tables,
assignments) or comes from a library of its own is not on it.
"""

from __future__ import annotations

__all__ = ["CONTROL", "HANDLED", "PLAIN", "is_allowed", "why_refused"]

_MATH = """
Abs AccumulateNV2 Acos Acosh Add AddN AddV2 All Angle Any ApproximateEqual ArgMax ArgMin Asin Asinh Atan Atan2 Atanh
BatchMatMul BatchMatMulV2 BatchMatMulV3 BesselI0 BesselI0e BesselI1 BesselI1e BesselJ0 BesselJ1 BesselK0 BesselK0e
BesselK1 BesselK1e BesselY0 BesselY1 Betainc Bincount BitwiseAnd BitwiseOr BitwiseXor Bucketize Cast Ceil ClipByValue
Complex ComplexAbs Conj Cos Cosh Cross Cumprod Cumsum CumulativeLogsumexp Dawsn DenseBincount Digamma Div DivNoNan
Einsum Equal Erf Erfc Erfinv EuclideanNorm Exp Expint Expm1 Floor FloorDiv FloorMod FresnelCos FresnelSin Greater
GreaterEqual HistogramFixedWidth Igamma IgammaGradA Igammac Imag Inv Invert IsFinite IsInf IsNan LeftShift Less
LessEqual Lgamma LinSpace Log Log1p LogicalAnd LogicalNot LogicalOr MatMul Max Maximum Mean Min Minimum Mod Mul
MulNoNan Ndtri Neg NextAfter NotEqual Polygamma PopulationCount Pow Prod RaggedBincount Range Real RealDiv Reciprocal
RightShift Rint Round Rsqrt SegmentMax SegmentMaxV2 SegmentMean SegmentMin SegmentMinV2 SegmentProd SegmentProdV2
SegmentSum SegmentSumV2 Select SelectV2 Sigmoid Sign Sin Sinh SobolSample Spence Sqrt Square SquaredDifference Sub Sum
Tan Tanh TruncateDiv TruncateMod UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum Xdivy
Xlog1py Xlogy Zeta
BatchCholesky BatchMatrixBandPart BatchMatrixDeterminant BatchMatrixDiag BatchMatrixDiagPart BatchMatrixInverse
BatchMatrixSetDiag BatchMatrixSolve BatchMatrixSolveLs BatchMatrixTriangularSolve BatchSelfAdjointEig
BatchSelfAdjointEigV2 BatchSvd BandedTriangularSolve Cholesky Eig LogMatrixDeterminant Lu MatrixBandPart
MatrixDeterminant MatrixDiag MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3
MatrixExponential MatrixInverse MatrixLogarithm MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 MatrixSolve
MatrixSolveLs MatrixSquareRoot MatrixTriangularSolve Qr SelfAdjointEig SelfAdjointEigV2 Svd TridiagonalMatMul
TridiagonalSolve
BatchFFT BatchFFT2D BatchFFT3D BatchIFFT BatchIFFT2D BatchIFFT3D FFT FFT2D FFT3D FFTND IFFT IFFT2D IFFT3D IFFTND IRFFT
IRFFT2D IRFFT3D IRFFTND RFFT RFFT2D RFFT3D RFFTND
"""

_ARRAY = """
BatchToSpace BatchToSpaceND Bitcast BroadcastArgs BroadcastGradientArgs BroadcastTo CheckNumerics CheckNumericsV2
Concat ConcatOffset ConcatV2 ConjugateTranspose Const CopyOp DataFormatDimMap DataFormatVecPermute
DebugGradientIdentity DepthToSpace Diag DiagPart DynamicPartition DynamicStitch EditDistance EnsureShape
ExpandDims ExtractImagePatches ExtractVolumePatches FakeParam Fill Fingerprint Gather GatherNd GatherV2 GuaranteeConst
InvertPermutation ListDiff LowerBound MirrorPad NthElement OneHot OnesLike Pack Pad
PadV2 ParallelConcat ParallelDynamicStitch PreventGradient Rank Reshape Reverse ReverseSequence ReverseV2 Roll
ScatterNd ScatterNdNonAliasingAdd Shape ShapeN Size Slice Snapshot SpaceToBatch SpaceToBatchND SpaceToDepth Split
SplitV Squeeze StopGradient StridedSlice TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub
TensorScatterUpdate TensorStridedSliceUpdate Tile TopK TopKV2 ApproxTopK Transpose Unique UniqueV2 UniqueWithCounts
UniqueWithCountsV2 Unpack UnravelIndex UpperBound Where ZerosLike
"""

_NN = """
AvgPool AvgPool3D BatchNormWithGlobalNormalization BiasAdd BiasAddV1 CTCBeamSearchDecoder CTCGreedyDecoder CTCLoss
CTCLossV2 Conv Conv2D Conv2DBackpropInput Conv2DBackpropInputV2 Conv3D Conv3DBackpropInput Conv3DBackpropInputV2
DepthwiseConv2dNative DepthwiseConv2dNativeBackpropInput Dilation2D Elu FractionalAvgPool FractionalMaxPool
FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 FusedPadConv2D FusedResizeAndPadConv2D InTopK InTopKV2
IsotonicRegression L2Loss LRN LeakyRelu LogSoftmax MaxPool MaxPool3D MaxPoolV2 MaxPoolWithArgmax Relu Relu6 Selu
Softmax SoftmaxCrossEntropyWithLogits Softplus Softsign SparseSoftmaxCrossEntropyWithLogits
AvgPool3DGrad AvgPoolGrad BiasAddGrad Conv2DBackpropFilter Conv2DBackpropFilterV2 Conv3DBackpropFilter
Conv3DBackpropFilterV2 DepthwiseConv2dNativeBackpropFilter EluGrad FusedBatchNormGrad FusedBatchNormGradV2
FusedBatchNormGradV3 InvGrad LRNGrad LeakyReluGrad MaxPool3DGrad MaxPoolGrad MaxPoolGradV2 MaxPoolGradWithArgmax
MirrorPadGrad ReciprocalGrad Relu6Grad ReluGrad RsqrtGrad SeluGrad SigmoidGrad SoftplusGrad SoftsignGrad SqrtGrad
StridedSliceGrad TanhGrad
BlockLSTM BlockLSTMV2 GRUBlockCell LSTMBlockCell
Dequantize FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel QuantizeAndDequantize
QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4 QuantizeDownAndShrinkRange QuantizeV2
QuantizedAdd QuantizedAvgPool QuantizedBatchNormWithGlobalNormalization QuantizedBiasAdd QuantizedConcat
QuantizedConv2D QuantizedInstanceNorm QuantizedMatMul QuantizedMaxPool QuantizedMul QuantizedRelu QuantizedRelu6
QuantizedReluX QuantizedReshape QuantizedResizeBilinear RequantizationRange Requantize UniformDequantize
UniformQuantize UniformQuantizedAdd UniformQuantizedClipByValue UniformQuantizedConvolution UniformQuantizedDot
UniformRequantize
"""

_SIGNALS = """
AdjustContrast AdjustContrastv2 AdjustHue AdjustSaturation AudioSpectrogram CombinedNonMaxSuppression CropAndResize
DecodeAndCropJpeg DecodeBmp DecodeGif DecodeImage DecodeJpeg DecodePng DecodeWav DecodeWebP DrawBoundingBoxes
DrawBoundingBoxesV2 EncodeJpeg EncodeJpegVariableQuality EncodePng EncodeWav ExtractGlimpse ExtractGlimpseV2
ExtractJpegShape GenerateBoundingBoxProposals HSVToRGB ImageProjectiveTransformV2 ImageProjectiveTransformV3 Mfcc
NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5
NonMaxSuppressionWithOverlaps RGBToHSV ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor ScaleAndTranslate
"""

_TEXT = """
AsString DecodeBase64 DecodeCSV DecodeCompressed DecodeJSONExample DecodePaddedRaw DecodeRaw EncodeBase64 ParseExample
ParseExampleV2 ParseSequenceExample ParseSequenceExampleV2 ParseSingleExample ParseSingleSequenceExample ParseTensor
ReduceJoin RegexFullMatch RegexReplace SerializeTensor StaticRegexFullMatch StaticRegexReplace StringFormat StringJoin
StringLength StringLower StringNGrams StringSplit StringSplitV2 StringStrip StringToHashBucket StringToHashBucketFast
StringToHashBucketStrong StringToNumber StringUpper Substr UnicodeDecode UnicodeDecodeWithOffsets UnicodeEncode
UnicodeScript UnicodeTranscode UnsortedSegmentJoin
"""

_SPARSE = """
DenseCountSparseOutput DenseToDenseSetOperation DenseToSparseSetOperation DeserializeManySparse DeserializeSparse
RaggedCountSparseOutput RaggedCross RaggedFillEmptyRows RaggedGather RaggedRange RaggedTensorFromVariant
RaggedTensorToSparse RaggedTensorToTensor RaggedTensorToVariant SerializeManySparse SerializeSparse SetSize SparseAdd
SparseBincount SparseConcat SparseCountSparseOutput SparseCross SparseCrossHashed SparseCrossV2 SparseDenseCwiseAdd
SparseDenseCwiseDiv SparseDenseCwiseMul SparseFillEmptyRows SparseMatMul SparseReduceMax SparseReduceMaxSparse
SparseReduceSum SparseReduceSumSparse SparseReorder SparseReshape SparseSegmentMean SparseSegmentMeanWithNumSegments
SparseSegmentSqrtN SparseSegmentSqrtNWithNumSegments SparseSegmentSum SparseSegmentSumWithNumSegments SparseSlice
SparseSoftmax SparseSparseMaximum SparseSparseMinimum SparseSplit SparseTensorDenseAdd SparseTensorDenseMatMul
SparseToDense SparseToSparseSetOperation
"""

_RANDOM = """
Multinomial ParameterizedTruncatedNormal RandomGamma RandomPoisson RandomPoissonV2 RandomShuffle RandomStandardNormal
RandomUniform RandomUniformInt SampleDistortedBoundingBox SampleDistortedBoundingBoxV2 StatelessMultinomial
StatelessParameterizedTruncatedNormal StatelessRandomBinomial StatelessRandomGammaV2 StatelessRandomGammaV3
StatelessRandomGetAlg StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal
StatelessRandomNormalV2 StatelessRandomPoisson StatelessRandomUniform StatelessRandomUniformFullInt
StatelessRandomUniformFullIntV2 StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessRandomUniformV2
StatelessSampleDistortedBoundingBox StatelessShuffle StatelessTruncatedNormal StatelessTruncatedNormalV2
TruncatedNormal
"""

_LISTS = """
EmptyTensorList TensorListConcat TensorListConcatLists TensorListConcatV2 TensorListElementShape TensorListFromTensor
TensorListGather TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack TensorListPushBackBatch
TensorListReserve TensorListResize TensorListScatter TensorListScatterIntoExistingList TensorListScatterV2
TensorListSetItem TensorListSplit TensorListStack
"""

_RESOURCES = """
LookupTableFind LookupTableFindV2 LookupTableSize LookupTableSizeV2 ResourceGather ResourceGatherNd VariableShape
"""

_CONTROL = """
Case Enter Exit If LoopCond Merge NextIteration PartitionedCall StatefulPartitionedCall StatelessCase StatelessIf
StatelessWhile Switch While
"""

_HANDLED = """
Assert ControlTrigger HashTable HashTableV2 Identity IdentityN InitializeTable InitializeTableV2 LookupTableImport
LookupTableImportV2 NoOp Placeholder PlaceholderV2 PlaceholderWithDefault
Print ReadVariableOp RefEnter RefExit RefIdentity RefMerge RefNextIteration RefSwitch TensorArrayCloseV3
TensorArrayConcatV3 TensorArrayGatherV3 TensorArrayReadV3 TensorArrayScatterV3 TensorArraySizeV3 TensorArraySplitV3
TensorArrayV3 TensorArrayWriteV3 VarHandleOp Variable VariableV2
"""

PLAIN = frozenset(" ".join((_MATH, _ARRAY, _NN, _SIGNALS, _TEXT, _SPARSE, _RANDOM, _LISTS, _RESOURCES)).split())
"""Operators that TensorFlow's own kernels run as they stand."""

CONTROL = frozenset(_CONTROL.split())
"""Control flow and calls: written anew as `tf.while_loop` and `tf.cond`, or inlined, so that gradients flow."""

HANDLED = frozenset(_HANDLED.split())
"""Operators that have a meaning here and are not run: variables, tables, arrays of loops, names for values."""

_REASONS = (
    ("runs Python code", ("PyFunc", "EagerPyFunc", "PyFuncStateless")),
    ("writes files", ("WriteFile", "Save", "MergeV2", "PrintV2", "Summary", "DumpTensor", "DebugIdentity")),
    ("reads files", ("ReadFile", "MatchingFiles", "Restore", "Reader", "Dataset", "ImmutableConst", "RecordInput")),
    ("reads files", ("LoadAndRemap", "VocabRemapping", "FromTextFile", "Proto")),
    ("talks to other processes", ("Send", "Recv", "Rpc", "RemoteCall", "Collective", "Session", "Distributed", "TPU")),
    ("runs compiled code", ("Xla", "CudnnRNN")),
    ("changes variables", ("Assign", "Apply", "ScatterUpdate", "ScatterAdd", "ScatterSub", "CountUpTo")),
    ("keeps state", ("Queue", "Iterator", "Mutable", "Insert", "Barrier", "Stack", "Stage", "Accumulator", "Mutex")),
)


def is_allowed(operator: str) -> bool:
    """Whether a graph may contain the operator."""
    return operator in PLAIN or operator in CONTROL or operator in HANDLED


def why_refused(operator: str) -> str:
    """What is known against an operator that is not allowed, as the end of a sentence."""
    for reason, parts in _REASONS:
        if any(part in operator for part in parts):
            return reason
    return "is not on the list of operators that may run"
