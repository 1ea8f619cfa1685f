using System.Globalization;
using LoraNet.Testing;

namespace LoraNet.Cli.Tests;

/// <summary>A tiny model from the fixtures with rows made up here, so that runs take milliseconds.</summary>
internal static class TinyRun
{
    /// <summary>A two-layer Llama without tokenizer.</summary>
    public static string Model { get; } = Path.Combine(TestData.Fixtures, "golden", "llama-tied");

    /// <summary>Its adapter.</summary>
    public static string Adapter { get; } = Path.Combine(Model, "adapter_init");

    /// <summary>A JSONL file of rows with a little structure: each row counts up from its number.</summary>
    public static string Rows(Scratch scratch, int count, string name = "rows.jsonl", int length = 9, int vocabulary = 48) =>
        scratch.Write(name, string.Concat(Enumerable.Range(0, count).Select(r =>
            $"{{\"input_ids\":[{string.Join(',', Enumerable.Range(0, length).Select(i => ((r * 7 + i) % vocabulary).ToString(CultureInfo.InvariantCulture)))}]}}\n")));

    /// <summary>Arguments of a small run.</summary>
    public static string[] Train(string data, string output, params string[] more) =>
        ["train", "--model", Model, "--data", data, "-o", output, "--rank", "4", "--alpha", "8", "--dropout", "0.1", "--learning-rate", "5e-3", "--batch-size", "4", "--max-steps", "12", .. more];
}
