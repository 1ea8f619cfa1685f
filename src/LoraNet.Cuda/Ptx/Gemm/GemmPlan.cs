namespace LoraNet.Cuda.Ptx.Gemm;

/// <summary>The kernel and launch shape chosen for one product.</summary>
/// <param name="Kernel">The main kernel.</param>
/// <param name="Reduce">The reduction of split partial sums, or null.</param>
/// <param name="TileM">Rows of a tile.</param>
/// <param name="TileN">Columns of a tile.</param>
/// <param name="Splits">Number of K ranges.</param>
/// <param name="TilesPerSplit">k-tiles of one range.</param>
/// <param name="Group">Row tiles that are visited together.</param>
internal readonly record struct GemmPlan(IKernelSpec Kernel, GemmReduceSpec? Reduce, int TileM, int TileN, int Splits, int TilesPerSplit, int Group)
{
    /// <summary>Row pitch of the partial sums of n columns: even, since the kernels store pairs.</summary>
    public static int PartialPitch(int n) => (n + 1) & ~1;

    /// <summary>Workspace for the partial sums, bytes.</summary>
    public long WorkspaceBytes(int m, int n) => Reduce is null ? 0 : (long)Splits * m * PartialPitch(n) * 4;
}
