using LoraNet.Cuda.Kernels;
using LoraNet.Cuda.Runtime;
using LoraNet.Tensors;

namespace LoraNet.Cuda;

/// <content>Attention.</content>
public sealed partial class CudaBackend
{
    private const int DecodeRows = 16;
    private readonly IndexPool _indexPool = new();

    /// <inheritdoc/>
    public override void Attention(in AttentionOperands operands)
    {
        RequireF32(operands.LogSumExp);
        if (operands.Layout.Queries == 0 || AttendGenerated(operands)) return;
        AttentionArgs args = Describe(operands);
        if (operands.Key.DType != operands.Query.DType || operands.Value.DType != operands.Query.DType)
            throw new ArgumentException("Query, key and value must have one type.");
        if (operands.Layout.Queries <= DecodeRows && args.HeadSize <= 8 * _device.Warp && args.HeadSize <= AttentionDecodeKernel.MaxHeadSize)
        {
            Decode(operands, args);
            return;
        }
        _kernels.Attention.Get(operands.Query.DType, operands.Output.DType).Launch(operands.Layout.Queries, operands.Heads, AttentionGroup, args);
    }

    /// <inheritdoc/>
    public override void AttentionBackward(in AttentionOperands operands, Tensor dOutput, Tensor dQuery, Tensor dKey, Tensor dValue)
    {
        RequireF32(operands.LogSumExp);
        if (operands.Layout.Queries > 0 && AttendBackwardGenerated(operands, dOutput, dQuery, dKey, dValue)) return;
        AttentionArgs args = Describe(operands);
        if (dKey.DType != dQuery.DType || dValue.DType != dQuery.DType)
            throw new ArgumentException("The gradients of query, key and value must have one type.");
        (args.QueryStart, args.QueryEnd) = Device(operands.Layout).Queries;
        int queries = operands.Layout.Queries, keys = operands.Layout.Keys;
        args.DOutput = dOutput.Address;
        args.DQuery = dQuery.Address;
        args.DKey = dKey.Address;
        args.DValue = dValue.Address;
        args.Delta = Scratch(4L * queries * operands.Heads);
        DType input = operands.Query.DType, gradient = dOutput.DType, result = dQuery.DType;
        if (queries > 0)
        {
            _kernels.AttentionDelta.Get(operands.Output.DType, gradient).Launch(queries, operands.Heads, _device.Warp, args);
            _kernels.AttentionDQuery.Get(input, gradient, result).Launch(queries, operands.Heads, AttentionGroup, args);
        }
        if (keys > 0) _kernels.AttentionDKeyValue.Get(input, gradient, result).Launch(keys, operands.KeyValueHeads, AttentionGroup, args);
    }

    /// <summary>Few rows: each head's keys are split among as many groups as fill the device.</summary>
    private void Decode(in AttentionOperands operands, AttentionArgs args)
    {
        int rows = operands.Layout.Queries, group = Math.Min(AttentionDecodeKernel.MaxWarps * _device.Warp, _device.MaxGroup);
        args.LanesPerKey = Math.Clamp((int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)(args.HeadSize + 3) / 4), 2, _device.Warp);
        // From sizes that a replay keeps, not from ranges that change.
        args.Splits = Math.Clamp(_device.ManyGroups / 8 / (rows * operands.Heads) / 4 * 4, 4, AttentionDecodeKernel.MaxSplits);
        args.Partial = Scratch(4L * rows * operands.Heads * args.Splits * (args.HeadSize + 2));
        _kernels.AttentionDecode.Get(operands.Query.DType).Launch(rows * args.Splits, operands.Heads, group, args);
        _kernels.AttentionJoin.Get(operands.Output.DType).Launch(rows, operands.Heads, Math.Min(group, RoundToWarp(args.HeadSize, group)), args);
    }

    private int AttentionGroup => Math.Min(AttentionKernels.MaxGroup, _device.MaxGroup);

    private AttentionArgs Describe(in AttentionOperands operands)
    {
        int headSize = operands.Query.Columns / operands.Heads;
        if (headSize > AttentionKernels.MaxHeadSize)
            throw new LoraNetException($"Attention heads of {headSize} elements are larger than the GPU kernels' {AttentionKernels.MaxHeadSize}.", "Run on the CPU (--device cpu).");
        DeviceLayout layout = Device(operands.Layout);
        return new AttentionArgs
        {
            Query = operands.Query.Address,
            Key = operands.Key.Address,
            Value = operands.Value.Address,
            Output = operands.Output.Address,
            LogSumExp = operands.LogSumExp.Address,
            KeyStart = layout.KeyStart,
            KeyEnd = layout.KeyEnd,
            Heads = operands.Heads,
            KeyValueHeads = operands.KeyValueHeads,
            HeadSize = headSize,
            Scale = operands.Scale,
            SoftCap = operands.SoftCap,
        };
    }

    private DeviceLayout Device(AttentionLayout layout)
    {
        if (layout.Prepared is DeviceLayout ready && ready.Owner == this) return ready;
        DeviceLayout made = new(this, _indexPool, layout);
        layout.Prepared = made;
        return made;
    }

    internal void UploadInts(ReadOnlySpan<int> values, nint address)
    {
        if (values.Length > 0) _device.Upload(System.Runtime.InteropServices.MemoryMarshal.AsBytes(values), address);
    }
}
