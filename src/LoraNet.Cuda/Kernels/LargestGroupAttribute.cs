namespace LoraNet.Cuda.Kernels;

/// <summary>The largest group a kernel is launched with: the driver's compiler then spends no more registers a thread than such groups
/// leave. Without it a kernel may use so many that only smaller groups fit.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class LargestGroupAttribute(int threads) : Attribute
{
    /// <summary>Threads.</summary>
    public int Threads => threads;
}
