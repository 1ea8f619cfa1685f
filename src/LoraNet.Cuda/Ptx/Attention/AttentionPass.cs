namespace LoraNet.Cuda.Ptx.Attention;

/// <summary>The three kernels of attention. Backward is two kernels without atomics: the query gradient (which also writes delta), then the key and value gradients.</summary>
internal enum AttentionPass
{
    /// <summary>O and the log-sum-exp of every row.</summary>
    Forward,

    /// <summary>delta = rowsum(dO * O) and dQ; owns a tile of queries and walks the keys.</summary>
    QueryGradient,

    /// <summary>dK and dV, summed over the query heads of a group; owns a tile of keys and walks the queries.</summary>
    KeyGradient,
}
