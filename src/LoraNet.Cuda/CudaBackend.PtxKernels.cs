using LoraNet.Cuda.Ptx.Attention;
using LoraNet.Cuda.Runtime;
using LoraNet.Tensors;

namespace LoraNet.Cuda;

/// <content>Attention by the generated kernels, where they fit.</content>
public sealed partial class CudaBackend
{
    private readonly GeneratedKernels? _generated;

    /// <summary>Launches the forward if a generated kernel takes it: 16-bit types and packed causal segments.</summary>
    private bool AttendGenerated(in AttentionOperands o)
    {
        if (!Describe(o, out AttentionArgs args, out DeviceLayout layout)) return false;
        if (AttentionRunner.Choose(_generated!.Arch, AttentionPass.Forward, args) is not { } kernel) return false;
        // The kernels keep statistics head by head, the contract row by row.
        nint statistics = Scratch(4L * o.Heads * args.LsePitch);
        args = args with { Lse = (ulong)statistics };
        (nint tiles, int count) = layout.Tiles(AttentionRunner.TileRows(kernel), AttentionPass.Forward);
        _generated.Attend(kernel, args, tiles, count);
        TransposeInto(statistics, o.Heads, args.LsePitch, o.LogSumExp.Address);
        return true;
    }

    /// <summary>Launches the backward if generated kernels take it.</summary>
    private bool AttendBackwardGenerated(in AttentionOperands o, Tensor dOutput, Tensor dQuery, Tensor dKey, Tensor dValue)
    {
        if (!Describe(o, out AttentionArgs args, out DeviceLayout layout)) return false;
        DType type = o.Query.DType;
        if (dOutput.DType != type || dQuery.DType != type || dKey.DType != type || dValue.DType != type) return false;
        if (AttentionRunner.Choose(_generated!.Arch, AttentionPass.QueryGradient, args) is not { } queries) return false;
        if (AttentionRunner.Choose(_generated.Arch, AttentionPass.KeyGradient, args) is not { } keys) return false;
        long bytes = Divide(4L * o.Heads * args.LsePitch, 256) * 256;
        nint statistics = Scratch(2 * bytes);
        TransposeInto(o.LogSumExp.Address, args.LsePitch, o.Heads, statistics);
        args = args with
        {
            Lse = (ulong)statistics,
            Delta = (ulong)(statistics + (nint)bytes),
            DO = (ulong)dOutput.Address,
            Lddo = dOutput.Columns,
            DQ = (ulong)dQuery.Address,
            Lddq = dQuery.Columns,
            DK = (ulong)dKey.Address,
            Lddk = dKey.Columns,
            DV = (ulong)dValue.Address,
            Lddv = dValue.Columns,
        };
        (nint tiles, int count) = layout.Tiles(AttentionRunner.TileRows(queries), AttentionPass.QueryGradient);
        _generated.Attend(queries, args, tiles, count);
        (tiles, count) = layout.Tiles(AttentionRunner.TileRows(keys), AttentionPass.KeyGradient);
        _generated.Attend(keys, args, tiles, count);
        return true;
    }

    /// <summary>The operands in the generated kernels' terms; false when the layout or the types are not theirs.</summary>
    private bool Describe(in AttentionOperands o, out AttentionArgs args, out DeviceLayout layout)
    {
        args = default;
        layout = null!;
        DType type = o.Query.DType;
        if (_generated is null || type is not (DType.BF16 or DType.F16) || o.Key.DType != type || o.Value.DType != type || o.Output.DType != type) return false;
        layout = Device(o.Layout);
        if (!layout.IsPackedCausal) return false;
        args = new AttentionArgs
        {
            Type = GeneratedKernels.Type(type),
            D = o.Query.Columns / o.Heads,
            Heads = o.Heads,
            KvHeads = o.KeyValueHeads,
            Rows = o.Layout.Queries,
            KeyRows = o.Layout.Keys,
            Scale = o.Scale,
            Window = layout.Window,
            SoftCap = o.SoftCap,
            Q = (ulong)o.Query.Address,
            Ldq = o.Query.Columns,
            K = (ulong)o.Key.Address,
            Ldk = o.Key.Columns,
            V = (ulong)o.Value.Address,
            Ldv = o.Value.Columns,
            O = (ulong)o.Output.Address,
            Ldo = o.Output.Columns,
            LsePitch = o.Layout.Queries,
        };
        return true;
    }

    /// <summary>y[columns, rows] = x[rows, columns]ᵀ, F32.</summary>
    private void TransposeInto(nint x, int rows, int columns, nint y) => Transpose(x, DType.F32, rows, columns, y, DType.F32);
}
