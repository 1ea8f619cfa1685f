using LoraNet.Cli.Devices;
using LoraNet.Testing;

namespace LoraNet.Cli.Tests;

/// <summary>What the NativeAOT build, which has no CUDA, depends on.</summary>
public sealed class NativeBuildTests
{
    [Fact]
    public void ABuildWithoutCudaSaysSo()
    {
        NoCards cards = new();
        Assert.Empty(cards.Cards());
        Assert.Contains("has no CUDA", cards.Missing);
        Assert.Contains("cuda:1", Assert.Throws<LoraNetException>(() => cards.Open(1, null, false)).Message);
    }

    // The build without CUDA compiles every other file of the command; compiling it in every check would take longer than reading them.
    [Fact]
    public void OneFileOfTheCommandKnowsCuda()
    {
        string folder = Path.Combine(TestData.Root, "src", "LoraNet.Cli");
        string[] known = [.. Directory.EnumerateFiles(folder, "*.cs", SearchOption.AllDirectories)
            .Where(f => !f.Contains($"{Path.DirectorySeparatorChar}obj{Path.DirectorySeparatorChar}", StringComparison.Ordinal))
            .Where(f => File.ReadAllText(f) is var text && (text.Contains("LoraNet.Cuda;", StringComparison.Ordinal) || text.Contains("Cuda.Cuda", StringComparison.Ordinal)))
            .Select(f => Path.GetRelativePath(folder, f).Replace('\\', '/'))];
        Assert.Equal(["Devices/CudaCards.cs"], known);
    }
}
