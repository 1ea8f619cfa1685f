namespace LoraNet.Cuda;

/// <summary>Time spent in one kernel.</summary>
/// <param name="Name">The kernel.</param>
/// <param name="Launches">How often it ran.</param>
/// <param name="Milliseconds">Sum of its times on the device.</param>
public readonly record struct KernelTime(string Name, int Launches, double Milliseconds);
