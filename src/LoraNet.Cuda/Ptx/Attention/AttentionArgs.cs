namespace LoraNet.Cuda.Ptx.Attention;

/// <summary>
/// Causal grouped-query attention on token-major matrices: head h of Q is columns [h D, (h+1) D) of [rows, ldq], likewise K, V (kvHeads), O and the gradients,
/// so that all may be views of one fused buffer. Pointers are device addresses of the first head's first column, 16-byte aligned; pitches count elements, multiples of 8.
/// Rows of padding inside the buffers must be finite.
/// </summary>
internal readonly record struct AttentionArgs
{
    /// <summary>BF16 or F16.</summary>
    public required PtxType Type { get; init; }

    /// <summary>Head size.</summary>
    public required int D { get; init; }

    /// <summary>Query heads.</summary>
    public required int Heads { get; init; }

    /// <summary>Key and value heads; divides <see cref="Heads"/>.</summary>
    public required int KvHeads { get; init; }

    /// <summary>Query rows.</summary>
    public required int Rows { get; init; }

    /// <summary>Rows of K and V (equal to <see cref="Rows"/> for packed self-attention).</summary>
    public required int KeyRows { get; init; }

    /// <summary>Scale of the scores before the softmax, usually 1/sqrt(D).</summary>
    public required float Scale { get; init; }

    /// <summary>Sliding window: a query sees the last <see cref="Window"/> keys including itself; 0 for no limit.</summary>
    public int Window { get; init; }

    /// <summary>Logit soft cap; 0 for none.</summary>
    public float SoftCap { get; init; }

    /// <summary>Address of Q.</summary>
    public required ulong Q { get; init; }

    /// <summary>Row pitch of Q.</summary>
    public required int Ldq { get; init; }

    /// <summary>Address of K.</summary>
    public required ulong K { get; init; }

    /// <summary>Row pitch of K.</summary>
    public required int Ldk { get; init; }

    /// <summary>Address of V.</summary>
    public required ulong V { get; init; }

    /// <summary>Row pitch of V.</summary>
    public required int Ldv { get; init; }

    /// <summary>Address of O: written by forward, read by the query gradient.</summary>
    public required ulong O { get; init; }

    /// <summary>Row pitch of O.</summary>
    public required int Ldo { get; init; }

    /// <summary>Natural log-sum-exp, fp32 [Heads, LsePitch]; forward may pass 0 to skip it.</summary>
    public ulong Lse { get; init; }

    /// <summary>rowsum(dO * O), fp32 [Heads, LsePitch]: scratch between the two backward kernels.</summary>
    public ulong Delta { get; init; }

    /// <summary>Elements from one head to the next in <see cref="Lse"/> and <see cref="Delta"/>.</summary>
    public int LsePitch { get; init; }

    /// <summary>Address of dO.</summary>
    public ulong DO { get; init; }

    /// <summary>Row pitch of dO.</summary>
    public int Lddo { get; init; }

    /// <summary>Address of dQ (overwritten).</summary>
    public ulong DQ { get; init; }

    /// <summary>Row pitch of dQ.</summary>
    public int Lddq { get; init; }

    /// <summary>Address of dK (overwritten).</summary>
    public ulong DK { get; init; }

    /// <summary>Row pitch of dK.</summary>
    public int Lddk { get; init; }

    /// <summary>Address of dV (overwritten).</summary>
    public ulong DV { get; init; }

    /// <summary>Row pitch of dV.</summary>
    public int Lddv { get; init; }
}
