using LoraNet.Tensors;

namespace LoraNet.Models;

/// <summary>What all layers of one forward pass share.</summary>
internal sealed class DecoderPass
{
    /// <summary>Visible keys of each layer.</summary>
    public required Func<int, AttentionLayout> Layout { get; init; }

    /// <summary>Rotation tables of each layer, null for a layer without rotation.</summary>
    public required Func<int, (Tensor Cos, Tensor Sin)?> Rope { get; init; }

    /// <summary>Positions of the rows, I32.</summary>
    public required Tensor Positions { get; init; }

    /// <summary>Row number within the optimizer step of the first gathered row.</summary>
    public long GatheredRowOffset { get; init; }

    /// <summary>Adapters of the gathered rows in a mixed batch, or null.</summary>
    public RowAdapters? GatheredAdapters { get; init; }

    /// <summary>Keys and values of earlier tokens, or null.</summary>
    public KeyValueCache? Cache { get; init; }

    /// <summary>False where the new rows are all there is to see, so that attention reads them and not the cache.</summary>
    public bool ReadsCache { get; init; }

    /// <summary>Where the new rows go in the cache, I32.</summary>
    public Tensor? CacheRows { get; init; }
}
