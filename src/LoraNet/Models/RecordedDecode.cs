using LoraNet.Tensors;

namespace LoraNet.Models;

/// <summary>One decoding pass of one token a sequence that a backend recorded, with the tensors it reads and writes.</summary>
internal sealed record RecordedDecode(DecodeKey Key, DecodeBatch Batch, IRecordedWork Work, Tensor Logits) : IDisposable
{
    /// <summary>The logits for the caller, who releases them; as long as they are held, the arena's count of lent tensors tells.</summary>
    public Tensor Lend() => Key.Arena.View(Logits, Logits.Rows, Logits.Columns);

    /// <inheritdoc/>
    public void Dispose()
    {
        Work.Dispose();
        Batch.Dispose();
        Arena.Release(Logits);
    }
}

/// <summary>What a recording depends on besides its inputs.</summary>
internal readonly record struct DecodeKey(Arena Arena, int Sequences, int ActiveAdapters, long Tables);
