namespace LoraNet.Tensors.Cpu;

/// <summary>Where the right-hand matrix of a product, B [K, N], comes from.</summary>
internal enum BSource
{
    /// <summary>A packed weight whose depth is K: [N / width][K][width].</summary>
    Panels,
    /// <summary>A packed weight whose columns are K and whose depth is N: the other orientation of the same copy.</summary>
    PanelsAcross,
    /// <summary>Row-major [N, K]: element (k, n) at n·ld + k.</summary>
    Columns,
    /// <summary>Row-major [K, N]: element (k, n) at k·ld + n.</summary>
    Rows,
}

/// <summary>C[M,N] = (C or 0) + alpha·A[M,K]·B[K,N] + bias[N] + LowA[M,R]·LowB[R,N]. Strides count elements.</summary>
internal unsafe struct GemmProblem
{
    public int M, N, K;
    public float* A;
    /// <summary>Distance of A's rows when row-major, of its columns when <see cref="ATransposed"/>.</summary>
    public nint ALd;
    public bool ATransposed;
    public float Alpha;
    public BSource BSource;
    public DType BType;
    public void* B;
    /// <summary>Row distance of a row-major B; depth of a packed one.</summary>
    public nint BLd;
    public float* LowA;
    public float* LowB;
    public nint LowBLd;
    /// <summary>True when LowB is [N, R], false when [R, N].</summary>
    public bool LowBColumns;
    public int R;
    public float* Bias;
    public float* C;
    public nint CLd;
    public bool Accumulate;
}
