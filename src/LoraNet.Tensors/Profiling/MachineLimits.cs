namespace LoraNet.Tensors.Profiling;

/// <summary>What the processor can do at best, sampled when asked for.</summary>
/// <param name="GigaflopsPerSecond">Multiply-adds on registers, two operations each, with all threads, in 10⁹ a second.</param>
/// <param name="GigabytesPerSecond">Copying between blocks larger than the caches, bytes read plus bytes written, in 10⁹ a second.</param>
public sealed record MachineLimits(double GigaflopsPerSecond, double GigabytesPerSecond);
