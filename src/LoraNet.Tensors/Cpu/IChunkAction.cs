namespace LoraNet.Tensors.Cpu;

/// <summary>Work that is split into independent, numbered chunks; a struct, so that running it allocates nothing.</summary>
internal interface IChunkAction
{
    /// <summary>Does chunk number <paramref name="chunk"/>. Its result must not depend on which thread runs it.</summary>
    void Invoke(int chunk);
}
