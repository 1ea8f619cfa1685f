using LoraNet.Generators;
using LoraNet.Testing;

namespace LoraNet.Tensors.Tests.Cpu;

/// <summary>The generated kernel is what its generator writes.</summary>
public sealed class TileKernelSourceTests
{
    [Fact]
    public void TheFileIsWhatTheGeneratorWrites()
    {
        string file = File.ReadAllText(Path.Combine(TestData.Root, TileKernelSource.Path)).ReplaceLineEndings("\n");
        Assert.True(file == TileKernelSource.Write(), $"{TileKernelSource.Path} differs from bench/Generators; change that and run: dotnet run -c Release --project bench/LoraNet.Bench -- tile-kernel");
    }
}
