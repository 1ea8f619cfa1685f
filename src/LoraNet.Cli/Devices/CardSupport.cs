namespace LoraNet.Cli.Devices;

/// <summary>What this build has for NVIDIA cards: CUDA, unless it was built with <c>-p:LoraNetCuda=false</c>.</summary>
internal static class CardSupport
{
    public static ICardSupport Current { get; } =
#if LORANET_CUDA
        new CudaCards();
#else
        new NoCards();
#endif
}
