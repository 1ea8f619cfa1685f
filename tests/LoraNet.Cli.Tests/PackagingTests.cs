using System.Diagnostics;
using System.Text.RegularExpressions;
using LoraNet.Testing;

namespace LoraNet.Cli.Tests;

/// <summary>
/// The packages as their users meet them: the tool is installed into a temporary folder and run; the README's program is
/// compiled against the packed library in a new project and run on the demo's model.
/// </summary>
public sealed partial class PackagingTests : IDisposable
{
#if DEBUG
    private const string Configuration = "Debug";
#else
    private const string Configuration = "Release";
#endif
    private readonly string _folder = Directory.CreateTempSubdirectory("loranet-pack-").FullName;
    // A version of its own keeps NuGet's cache from serving an earlier build.
    private readonly string _version = $"0.0.1-test{DateTime.UtcNow:yyyyMMddHHmmssfff}";

    [Fact]
    public void PackedToolAndLibraryWorkElsewhere()
    {
        string packages = Path.Combine(_folder, "packages");
        foreach (string project in new[] { "LoraNet.Tensors", "LoraNet", "LoraNet.Cuda", "LoraNet.Cli" })
            Dotnet(TestData.Root, "pack", Path.Combine("src", project), "-c", Configuration, "--no-build", "-o", packages, $"-p:PackageVersion={_version}");
        foreach (string project in new[] { "LoraNet.Tensors", "LoraNet", "LoraNet.Cuda", "LoraNet.Cli" })
        {
            string path = Path.Combine(packages, $"{project}.{_version}.nupkg");
            using System.IO.Compression.ZipArchive archive = System.IO.Compression.ZipFile.OpenRead(path);
            Assert.Contains(archive.Entries, e => e.FullName == "README.md");
        }
        ToolRuns(packages);
        ReadmeProgramRuns(packages);
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private void ToolRuns(string packages)
    {
        string tools = Path.Combine(_folder, "tools");
        Dotnet(_folder, "tool", "install", "LoraNet.Cli", "--tool-path", tools, "--add-source", packages, "--version", _version);
        string tool = Path.Combine(tools, OperatingSystem.IsWindows() ? "loranet.exe" : "loranet");
        Assert.NotEqual("", Run(tool, _folder, "--version").Trim());
        string output = Path.Combine(_folder, "demo");
        Run(tool, _folder, "demo", "--max-steps", "2", "-o", output);
        Assert.True(File.Exists(Path.Combine(output, "adapter_model.safetensors")));
        Assert.True(File.Exists(Path.Combine(output, "report.html")));
    }

    private void ReadmeProgramRuns(string packages)
    {
        string project = Path.Combine(_folder, "user");
        Directory.CreateDirectory(project);
        File.WriteAllText(Path.Combine(project, "user.csproj"), $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net10.0</TargetFramework>
                <Nullable>enable</Nullable>
                <ImplicitUsings>enable</ImplicitUsings>
                <RestoreAdditionalProjectSources>{packages}</RestoreAdditionalProjectSources>
              </PropertyGroup>
              <ItemGroup>
                <PackageReference Include="LoraNet" Version="{_version}" />
              </ItemGroup>
            </Project>
            """);
        Match block = CSharpBlock().Match(File.ReadAllText(Path.Combine(TestData.Root, "README.md")));
        Assert.True(block.Success, "README.md has a csharp block");
        File.WriteAllText(Path.Combine(project, "Program.cs"), block.Groups[1].Value);
        string demo = Path.Combine(TestData.Root, "src", "LoraNet.Cli", "Demo"), output = Path.Combine(_folder, "adapter");
        string text = Dotnet(project, "run", "--", demo, Path.Combine(demo, "train.jsonl"), output);
        Assert.Contains("step 20 loss", text, StringComparison.Ordinal);
        Assert.True(File.Exists(Path.Combine(output, "adapter_config.json")));
    }

    private static string Dotnet(string folder, params string[] arguments) => Run("dotnet", folder, arguments);

    private static string Run(string program, string folder, params string[] arguments)
    {
        ProcessStartInfo start = new(program, arguments) { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["MSBUILDDISABLENODEREUSE"] = "1";
        start.Environment["DOTNET_CLI_TELEMETRY_OPTOUT"] = "1";
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"{program} {string.Join(' ', arguments)} ended with {process.ExitCode}:\n{output}\n{errors.Result}");
        return output;
    }

    [GeneratedRegex("```csharp\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex CSharpBlock();
}
