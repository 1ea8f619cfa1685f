using System.Numerics;

namespace LoraNet.Cuda.Ptx.Attention;

/// <summary>
/// Causal grouped-query attention over packed segments for sm_90a, head size 64 or 128: a producer warpgroup feeds tiles through the tensor copy engine,
/// two or three consumer warpgroups own 64 rows each and multiply with wgmma. Persistent blocks walk the (tile, head) items, heaviest first, in alternating direction.
/// </summary>
/// <param name="Pass">Which of the three kernels.</param>
/// <param name="Type">BF16 or F16.</param>
/// <param name="D">64 or 128.</param>
internal sealed record AttentionWgmmaSpec(AttentionPass Pass, PtxType Type, int D) : IKernelSpec
{
    private (int Consumers, int Loop, int Stages, int Buffers) Shape => (Pass, D) switch
    {
        (AttentionPass.Forward, 64) => (3, 128, 3, 2),
        (AttentionPass.Forward, _) => (2, 128, 2, 2),
        (AttentionPass.QueryGradient, 64) => (3, 64, 4, 2),
        (AttentionPass.QueryGradient, _) => (2, 64, 4, 1),
        (_, 64) => (2, 64, 4, 1),
        _ => (2, 64, 3, 1),
    };

    /// <summary>Whether there is such a kernel.</summary>
    public bool Supported => D is 64 or 128 && Type != PtxType.F32;

    /// <summary>Consumer warpgroups.</summary>
    public int Consumers => Shape.Consumers;

    /// <summary>Rows of the tile that a block owns.</summary>
    public int TileRows => 64 * Consumers;

    /// <summary>Rows of a loop tile.</summary>
    public int Loop => Shape.Loop;

    /// <summary>Loop tiles in flight.</summary>
    public int Stages => Shape.Stages;

    /// <summary>Buffers for the block's own tile: with two, the next item's tile loads during this one.</summary>
    public int Buffers => Shape.Buffers;

    /// <inheritdoc/>
    public PtxKernelText Build()
    {
        if (!Supported) throw new NotSupportedException($"No {Pass} attention kernel for head size {D} of {Type} on {PtxArch.Sm90a}.");
        string name = Pass switch { AttentionPass.Forward => "fwd", AttentionPass.QueryGradient => "dq", _ => "dkv" };
        PtxWriter k = new(PtxArch.Sm90a, $"attn_wgmma_{name}_{Type.Name()}_d{D}", 128 * (Consumers + 1));
        AttentionWgmma w = new(k, this);
        return Pass switch
        {
            AttentionPass.Forward => AttentionWgmmaForward.Write(k, w, this),
            AttentionPass.QueryGradient => AttentionWgmmaQueryGradient.Write(k, w, this),
            _ => AttentionWgmmaKeyGradient.Write(k, w, this),
        };
    }

    /// <summary>log2 of the loop tile's rows.</summary>
    public int LoopShift => BitOperations.Log2((uint)Loop);
}
