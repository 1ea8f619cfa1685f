namespace LoraNet.Tensors.Profiling;

/// <summary>Calls of one operation of one shape class, summed.</summary>
/// <param name="Name">The operation; products carry their widths, such as <c>linear 576 → 1536</c>.</param>
/// <param name="Calls">How often it was called.</param>
/// <param name="Milliseconds">Time from call to return, all calls.</param>
/// <param name="Flops">Multiplications and additions of products and attention; 0 for operations that only move data.</param>
/// <param name="Bytes">Operands read and written once each, frozen weights in their stored type.</param>
public sealed record OperationTime(string Name, long Calls, double Milliseconds, double Flops, double Bytes)
{
    /// <summary>Achieved 10⁹ operations a second.</summary>
    public double GigaflopsPerSecond => Milliseconds > 0 ? Flops / Milliseconds / 1e6 : 0;

    /// <summary>Achieved 10⁹ bytes a second.</summary>
    public double GigabytesPerSecond => Milliseconds > 0 ? Bytes / Milliseconds / 1e6 : 0;

    /// <summary>
    /// The least time that arithmetic and memory allow, as a part of the time taken: 1 is the machine's limit. Above 1 the operands
    /// came from caches, which are faster than the memory that the limit was sampled from.
    /// </summary>
    public double PartOfLimit(MachineLimits limits) => Milliseconds <= 0 ? 0
        : Math.Max(Flops / limits.GigaflopsPerSecond, Bytes / limits.GigabytesPerSecond) / 1e6 / Milliseconds;
}
