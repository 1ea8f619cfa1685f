using LoraNet.Tensors;

namespace LoraNet.Cli.Devices;

/// <summary>A build without CUDA: its kernels are compiled while the program runs, which a NativeAOT program can't do.</summary>
internal sealed class NoCards : ICardSupport
{
    public string Missing => "not looked for: this build has no CUDA; the loranet that runs on the .NET runtime has it";

    public IReadOnlyList<CudaCard> Cards() => [];

    public Backend Open(int index, DType? type, bool tf32) => throw new LoraNetException(
        $"--device cuda:{index}: this build of loranet has no CUDA.",
        "Use the loranet that runs on the .NET runtime ('dotnet tool install' or 'dotnet run'), or leave --device out.");

    public ICardProfile? Profile(Backend backend) => null;
}
