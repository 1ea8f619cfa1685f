namespace LoraNet.Cuda.Ptx.Gemm;

/// <summary>
/// C[M,N] = alpha * (op(A) op(B) + op(P) op(L)) + bias[n] + addend[m,n]; see <see cref="GemmLayout"/> for op. All pointers are device addresses,
/// all leading dimensions count elements between rows. Results are deterministic: reruns on the same card are bitwise equal.
/// </summary>
internal readonly record struct GemmArgs
{
    /// <summary>Operand layout.</summary>
    public required GemmLayout Layout { get; init; }

    /// <summary>Rows of C.</summary>
    public required int M { get; init; }

    /// <summary>Columns of C.</summary>
    public required int N { get; init; }

    /// <summary>Length of the sum.</summary>
    public required int K { get; init; }

    /// <summary>Type of A, B, P, L and the bias.</summary>
    public required PtxType In { get; init; }

    /// <summary>Type of C and the addend.</summary>
    public required PtxType Out { get; init; }

    /// <summary>Address of A.</summary>
    public required ulong A { get; init; }

    /// <summary>Row pitch of A.</summary>
    public required int Lda { get; init; }

    /// <summary>Address of B.</summary>
    public required ulong B { get; init; }

    /// <summary>Row pitch of B.</summary>
    public required int Ldb { get; init; }

    /// <summary>Address of C.</summary>
    public required ulong C { get; init; }

    /// <summary>Row pitch of C.</summary>
    public required int Ldc { get; init; }

    /// <summary>Scale of both products.</summary>
    public float Alpha { get; init; } = 1;

    /// <summary>Address of N bias elements, or 0.</summary>
    public ulong Bias { get; init; }

    /// <summary>Address of a matrix to add (C itself to accumulate), or 0.</summary>
    public ulong Addend { get; init; }

    /// <summary>Row pitch of the addend.</summary>
    public int LdAddend { get; init; }

    /// <summary>Address of the low-rank left factor (A's layout with R in place of K), or 0.</summary>
    public ulong P { get; init; }

    /// <summary>Row pitch of P.</summary>
    public int Ldp { get; init; }

    /// <summary>Address of the low-rank right factor (B's layout with R in place of K).</summary>
    public ulong L { get; init; }

    /// <summary>Row pitch of L.</summary>
    public int Ldl { get; init; }

    /// <summary>Rank of the second product; 0 without one.</summary>
    public int R { get; init; }

    /// <summary>Only fp32 FMAs, no tensor cores (for comparisons; implied by In = F32 without <see cref="Tf32"/>).</summary>
    public bool Strict { get; init; }

    /// <summary>F32 operands may be rounded to TF32 for the tensor cores, where the card has them (sm_80).</summary>
    public bool Tf32 { get; init; }

    /// <summary>Initialises the defaults.</summary>
    public GemmArgs()
    {
    }
}
