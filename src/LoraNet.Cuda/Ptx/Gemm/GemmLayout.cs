namespace LoraNet.Cuda.Ptx.Gemm;

/// <summary>
/// How the operands of C[M,N] = op(A) op(B) lie in memory (row-major, any row pitch). The summed dimension is K in every case.
/// </summary>
internal enum GemmLayout
{
    /// <summary>A[M,K], B[N,K]: y = x Wᵀ.</summary>
    NT,

    /// <summary>A[M,K], B[K,N]: dx = dy W.</summary>
    NN,

    /// <summary>A[K,M], B[K,N]: dw = dyᵀ x.</summary>
    TN,
}
