namespace LoraNet.Tensors;

/// <summary>
/// A frozen matrix [out, in] of the base model: the mapped original plus whatever form a backend prepared from it
/// (packed panels, a device copy). The original is never written; the prepared form may be dropped and made again.
/// </summary>
public sealed class Weight
{
    /// <summary>Wraps a stored matrix.</summary>
    /// <param name="name">Hugging Face tensor name, used in errors.</param>
    /// <param name="source">The stored matrix, [out, in] or, when <paramref name="transposed"/>, [in, out].</param>
    /// <param name="transposed">True for GPT-2's Conv1D, which stores [in, out].</param>
    public Weight(string name, HostTensor source, bool transposed = false)
    {
        if (source.Shape.Length != 2)
            throw new LoraNetException($"Tensor '{name}' has {source.Shape.Length} dimensions; a matrix was expected.");
        Name = name;
        Source = source;
        Transposed = transposed;
        Rows = source.Shape[transposed ? 1 : 0];
        Columns = source.Shape[transposed ? 0 : 1];
    }

    /// <summary>Hugging Face tensor name.</summary>
    public string Name { get; }

    /// <summary>The stored matrix.</summary>
    public HostTensor Source { get; }

    /// <summary>True when <see cref="Source"/> is stored [in, out].</summary>
    public bool Transposed { get; }

    /// <summary>Output features N.</summary>
    public int Rows { get; }

    /// <summary>Input features K.</summary>
    public int Columns { get; }

    /// <summary>The form the backend made of <see cref="Source"/>; owned by that backend.</summary>
    public object? Prepared { get; set; }
}
