namespace LoraNet.Tensors.Cpu;

/// <summary>Attention on pointers: q, o [M, H·D], k, v [Mk, Hkv·D], log-sum-exp [M, H].</summary>
internal unsafe struct AttentionProblem
{
    public float* Query, Key, Value, Output, LogSumExp;
    public AttentionLayout Layout;
    public int Queries, Keys, Heads, KeyValueHeads, HeadSize;
    public float Scale, SoftCap;

    /// <summary>Query heads that share a key-value head.</summary>
    public readonly int HeadsPerGroup => Heads / KeyValueHeads;
}
