using LoraNet.Paper.Experiments;

namespace LoraNet.Tests.Metrics;

/// <summary>The paper's arithmetic against what LoraNet counted in loaded models of the same shapes, and against the paper's own tables.</summary>
public class ArithmeticTests
{
    [Theory]
    [InlineData("GPT-2 medium", 4, 354_823_168, 393_216)]
    [InlineData("Llama-3.2-1B", 8, 1_235_814_400, 851_968)]
    public void CountsWhatLoadedModelsHave(string model, int rank, long parameters, long trained)
    {
        Arithmetic.Case found = Assert.Single(Arithmetic.Cases, c => c.Model == model && c.Rank == rank);
        Assert.Equal(parameters, found.Parameters);
        Assert.Equal(trained, found.Trained);
    }

    [Theory]
    [InlineData("GPT-3 175B", 1, 4.7)]
    [InlineData("GPT-3 175B", 8, 37.7)]
    [InlineData("RoBERTa base", 8, 0.3)]
    [InlineData("RoBERTa large", 8, 0.8)]
    public void RoundsToWhatThePaperPrints(string model, int rank, double millions)
    {
        Arithmetic.Case found = Assert.Single(Arithmetic.Cases, c => c.Model == model && c.Rank == rank);
        Assert.Equal(millions, Math.Round(found.Trained / 1e6, 1));
    }

    [Fact]
    public void Gpt3ShrinksTenThousandfold()
    {
        Arithmetic.Case found = Assert.Single(Arithmetic.Cases, c => c.Model == "GPT-3 175B" && c.Rank == 4);
        Assert.Equal(9_251, Math.Round(found.Parameters / (double)found.Trained));
        Assert.Equal((8 * found.Trained, 8 * found.Parameters), found.OptimizerBytes);
        Assert.Equal((37_748_736, 2 * found.Parameters), found.FileBytes);
    }
}
