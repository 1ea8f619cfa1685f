using LoraNet.Cuda.Kernels;

namespace LoraNet.Cuda.Runtime;

/// <summary>All C# kernels; each is compiled for an element type when first used.</summary>
internal sealed class KernelSet(DeviceRuntime device)
{
    public readonly KernelFamily<ActivationArgs> Activate = new(device, ActivationKernels.Forward<SiluActivation, StoredF32, StoredF32>);
    public readonly KernelFamily<ActivationArgs> ActivateBackward = new(device, ActivationKernels.Backward<SiluActivation, StoredF32, StoredF32, StoredF32>);
    public readonly KernelFamily<ActivationArgs> Gated = new(device, ActivationKernels.Gated<SiluActivation, StoredF32, StoredF32, StoredF32>);
    public readonly KernelFamily<ActivationArgs> GatedBackward = new(device, ActivationKernels.GatedBackward<SiluActivation, StoredF32, StoredF32, StoredF32>);
    public readonly KernelFamily<PointwiseArgs> Add = new(device, PointwiseKernels.Add<StoredF32, StoredF32, StoredF32>);
    public readonly KernelFamily<PointwiseArgs> Scale = new(device, PointwiseKernels.Scale<StoredF32, StoredF32>);
    public readonly KernelFamily<PointwiseArgs> SoftCap = new(device, PointwiseKernels.SoftCap<StoredF32, StoredF32>);
    public readonly KernelFamily<PointwiseArgs> Binary = new(device, PointwiseKernels.Binary);
    public readonly KernelFamily<RowArgs> ScaleColumns = new(device, RowKernels.ScaleColumns<StoredF32, StoredF32>);
    public readonly KernelFamily<RowArgs> ScaleRows = new(device, RowKernels.ScaleRows<StoredF32, StoredF32>);
    public readonly KernelFamily<RowArgs> AddRow = new(device, RowKernels.AddRow<StoredF32, StoredF32>);
    public readonly KernelFamily<RowArgs> CopyColumns = new(device, RowKernels.CopyColumns<StoredF32, StoredF32>);
    public readonly KernelFamily<RowArgs> PadRows = new(device, RowKernels.PadRows<StoredF32, StoredF32>);
    public readonly KernelFamily<RowArgs> Gather = new(device, RowKernels.Gather<StoredF32, StoredF32>);
    public readonly KernelFamily<RowArgs> ScatterAdd = new(device, RowKernels.ScatterAdd<StoredF32, StoredF32>);
    public readonly KernelFamily<RowArgs> Transpose = new(device, RowKernels.Transpose<StoredF32, StoredF32>);
    public readonly KernelFamily<NormArgs> RmsNorm = new(device, NormKernels.Rms<StoredF32, StoredF32>);
    public readonly KernelFamily<NormArgs> RmsNormBackward = new(device, NormKernels.RmsBackward<StoredF32, StoredF32, StoredF32>);
    public readonly KernelFamily<NormArgs> LayerNorm = new(device, NormKernels.Layer<StoredF32, StoredF32>);
    public readonly KernelFamily<NormArgs> LayerNormBackward = new(device, NormKernels.LayerBackward<StoredF32, StoredF32, StoredF32>);
    public readonly KernelFamily<ReduceArgs> ColumnSums = new(device, ReduceKernels.Columns<StoredF32, StoredF32>);
    public readonly KernelFamily<ReduceArgs> ColumnSumsFinish = new(device, ReduceKernels.ColumnsFinish);
    public readonly KernelFamily<ReduceArgs> Total = new(device, ReduceKernels.Total<StoredF32>);
    public readonly KernelFamily<ReduceArgs> TotalFinish = new(device, ReduceKernels.TotalFinish);
    public readonly KernelFamily<ReduceArgs> RowSquares = new(device, ReduceKernels.RowSquares<StoredF32>);
    public readonly KernelFamily<DoraArgs> DoraNorm = new(device, DoraKernels.Norm);
    public readonly KernelFamily<RopeArgs> Rope = new(device, RopeKernels.Rotate<StoredF32, StoredF32>);
    public readonly KernelFamily<AppendArgs> Append = new(device, RopeKernels.Append<StoredF32>);
    public readonly KernelFamily<DropoutArgs> Dropout = new(device, DropoutKernels.Apply<StoredF32, StoredF32>);
    public readonly KernelFamily<CrossEntropyArgs> CrossEntropy = new(device, LossKernels.CrossEntropy<StoredF32, StoredF32>);
    public readonly KernelFamily<OptimizerArgs> SquareSums = new(device, OptimizerKernels.SquareSums);
    public readonly KernelFamily<OptimizerArgs> FinishNorm = new(device, OptimizerKernels.FinishNorm);
    public readonly KernelFamily<OptimizerArgs> AdamW = new(device, OptimizerKernels.AdamW<StoredBF16>);
    public readonly KernelFamily<OptimizerArgs> ZeroGradients = new(device, OptimizerKernels.ZeroGradients);
    public readonly KernelFamily<GemmArgs> Gemm = new(device, GemmKernels.Multiply<StoredF32, StoredF32, StoredF32>);
    public readonly KernelFamily<AttentionArgs> Attention = new(device, AttentionKernels.Forward<StoredF32, StoredF32>);
    public readonly KernelFamily<AttentionArgs> AttentionDecode = new(device, AttentionDecodeKernel.Forward<StoredF32>);
    public readonly KernelFamily<AttentionArgs> AttentionJoin = new(device, AttentionDecodeKernel.Join<StoredF32>);
    public readonly KernelFamily<AttentionArgs> AttentionDelta = new(device, AttentionKernels.Delta<StoredF32, StoredF32>);
    public readonly KernelFamily<AttentionArgs> AttentionDQuery = new(device, AttentionKernels.DQuery<StoredF32, StoredF32, StoredF32>);
    public readonly KernelFamily<AttentionArgs> AttentionDKeyValue = new(device, AttentionKernels.DKeyValue<StoredF32, StoredF32, StoredF32>);
}
