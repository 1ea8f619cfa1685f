using System.Text.Json;
using LoraNet.Cli;

namespace LoraNet.Cli.Tests;

/// <summary>What a command did.</summary>
internal sealed record CliResult(int Code, string Out, string Error)
{
    /// <summary>Standard output, which must be exactly one JSON object.</summary>
    public JsonElement Json
    {
        get
        {
            using JsonDocument document = JsonDocument.Parse(Out);
            return document.RootElement.Clone();
        }
    }

    /// <summary>Asserts success.</summary>
    public CliResult Ok()
    {
        Assert.True(Code == 0, $"exit code {Code}: {Error}");
        return this;
    }
}

/// <summary>Runs the command in this process.</summary>
internal static class Cli
{
    /// <summary>Runs on the processor, so that a machine with a GPU gives the same numbers.</summary>
    public static CliResult Run(params string[] args) => RunEnv(new Dictionary<string, string>(), args);

    /// <summary>Runs with these environment variables.</summary>
    public static CliResult RunEnv(IReadOnlyDictionary<string, string> environment, params string[] args) =>
        RunWith(new CommandHost { Environment = name => environment.GetValueOrDefault(name) ?? OnProcessor(name) }, args);

    /// <summary>The environment of every test.</summary>
    public static string? OnProcessor(string name) => name == "LORANET_BACKEND" ? "cpu" : null;

    /// <summary>Runs in these surroundings.</summary>
    public static CliResult RunWith(CommandHost host, params string[] args)
    {
        StringWriter stdout = new(), stderr = new();
        int code = CommandLine.Run(args, stdout, stderr, host);
        return new CliResult(code, stdout.ToString(), stderr.ToString());
    }
}

/// <summary>A folder that disappears with the test.</summary>
internal sealed class Scratch : IDisposable
{
    public Scratch() => Directory.CreateDirectory(Root);

    public string Root { get; } = System.IO.Path.Combine(System.IO.Path.GetTempPath(), "loranet-cli-" + Guid.NewGuid().ToString("N"));

    public string Path(params string[] parts) => System.IO.Path.Combine([Root, .. parts]);

    public string Write(string name, string text)
    {
        File.WriteAllText(Path(name), text);
        return Path(name);
    }

    public void Dispose() => Directory.Delete(Root, recursive: true);
}
