namespace LoraNet.Cli.Tests;

/// <summary>Adapters made from other things: two models, loralib's files, adapters of higher rank.</summary>
public sealed class AdapterFormsTests
{
    [Fact]
    public void MergingAndExtractingGoesRoundAndRanksCanBeReduced()
    {
        using Scratch scratch = new();
        string data = TinyRun.Rows(scratch, 12), adapter = scratch.Path("adapter"), merged = scratch.Path("merged"), found = scratch.Path("found"), lower = scratch.Path("lower");
        Cli.Run(TinyRun.Train(data, adapter, "--json", "--use-rslora")).Ok();
        Cli.Run("merge", "--model", TinyRun.Model, "--adapter", adapter, "-o", merged, "--json").Ok();
        CliResult result = Cli.Run("adapter", "extract", "--model", TinyRun.Model, "--tuned", merged, "-o", found, "--energy", "0.9999", "--json").Ok();
        Assert.InRange(result.Json.GetProperty("largest_rank").GetInt32(), 1, 4);
        Assert.InRange(result.Json.GetProperty("energy").GetDouble(), 0.9999, 1);
        Assert.Empty(result.Json.GetProperty("left_out").EnumerateArray());
        double of = Loss(adapter), again = Loss(found);
        Assert.Equal(of, again, 1e-3);

        CliResult reduced = Cli.Run("adapter", "convert", adapter, "--to", "lower-rank", "--model", TinyRun.Model, "--rank", "2", "-o", lower, "--json").Ok();
        Assert.Equal(reduced.Json.GetProperty("parameters_before").GetInt64(), 2 * reduced.Json.GetProperty("parameters").GetInt64());
        Cli.Run("adapter", "convert", adapter, "--to", "plain-alpha", "-o", scratch.Path("plain"), "--json").Ok();
        Assert.Equal(of, Loss(scratch.Path("plain")), 1e-6);

        string loralib = scratch.Path("loralib.safetensors");
        Cli.Run("adapter", "convert", scratch.Path("plain"), "--to", "loralib", "-o", loralib, "--json").Ok();
        // Alpha 8 at rank 4 with rsLoRA is a plain alpha of 16.
        Cli.Run("adapter", "convert", loralib, "--to", "peft", "--alpha", "16", "-o", scratch.Path("back"), "--json").Ok();
        Assert.Equal(of, Loss(scratch.Path("back")), 1e-6);

        double Loss(string folder) => Cli.Run("eval", "--model", TinyRun.Model, "--adapter", folder, "--data", data, "--json").Ok().Json.GetProperty("loss").GetDouble();
    }
}
