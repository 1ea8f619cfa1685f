using System.Diagnostics;
using LoraNet.Cli;

namespace LoraNet.Cli.Tests;

/// <summary>The command as a process of its own: exit codes, signals, and sudden death.</summary>
public sealed class ProcessTests
{
    private static readonly string _dll = typeof(CommandLine).Assembly.Location;

    [Fact]
    public void StandardOutputCarriesOnlyTheObject()
    {
        using Scratch scratch = new();
        using Process process = Start(TinyRun.Train(TinyRun.Rows(scratch, 20), scratch.Path("out"), "--json"));
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, errors.Result);
        Assert.Equal(12, new CliResult(0, output, "").Json.GetProperty("steps").GetInt32());
        Assert.DoesNotContain('\u001b', output + errors.Result);
    }

    [Fact]
    public void AMistakeExitsWithTwo()
    {
        using Process process = Start("train", "--lerning-rate", "1");
        Task<string> errors = process.StandardError.ReadToEndAsync();
        Assert.Equal("", process.StandardOutput.ReadToEnd());
        process.WaitForExit();
        Assert.Equal(2, process.ExitCode);
        Assert.Contains("--learning-rate", errors.Result, StringComparison.Ordinal);
    }

    [Fact]
    public void CtrlCSavesAndExitsWith130AndTheRunContinuesBitForBit()
    {
        if (OperatingSystem.IsWindows()) return;
        using Scratch scratch = new();
        string rows = TinyRun.Rows(scratch, 40), whole = scratch.Path("whole"), broken = scratch.Path("broken");
        string[] more = ["--max-steps", "400", "--log-steps", "1"];
        Cli.Run(LongRun(rows, whole, more)).Ok();
        using (Process process = Start(LongRun(rows, broken, more)))
        {
            Task<string> errors = process.StandardError.ReadToEndAsync();
            ReadUntil(process, "step  20/400");
            using (Process kill = Process.Start("kill", ["-INT", process.Id.ToString(System.Globalization.CultureInfo.InvariantCulture)])) kill.WaitForExit();
            process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            Assert.True(process.ExitCode == 130, $"exit code {process.ExitCode}: {errors.Result}");
            Assert.Contains("Stopping after this step", errors.Result, StringComparison.Ordinal);
        }
        Assert.Single(Directory.EnumerateDirectories(broken, "checkpoint-*"));
        Cli.Run("train", "-o", broken, "--resume").Ok();
        Assert.Equal(File.ReadAllBytes(Path.Combine(whole, "adapter_model.safetensors")), File.ReadAllBytes(Path.Combine(broken, "adapter_model.safetensors")));
    }

    [Fact]
    public void SuddenDeathLosesNothing()
    {
        using Scratch scratch = new();
        string rows = TinyRun.Rows(scratch, 40), whole = scratch.Path("whole"), broken = scratch.Path("broken");
        string[] more = ["--max-steps", "300", "--log-steps", "1", "--save-steps", "7", "--save-total-limit", "2"];
        Cli.Run(LongRun(rows, whole, more)).Ok();
        Random random = new(1);
        // Killed while it starts, between steps and while it saves; each time it goes on from what is there.
        for (int attempt = 0; attempt < 5; attempt++)
        {
            using Process process = Start([.. LongRun(rows, broken, more), "--resume"]);
            Task<string> errors = process.StandardError.ReadToEndAsync();
            if (attempt > 0) ReadUntil(process, "step ");
            Thread.Sleep(random.Next(0, 60));
            process.Kill();
            process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            Assert.DoesNotContain("error:", errors.Result, StringComparison.Ordinal);
        }
        Cli.Run([.. LongRun(rows, broken, more), "--resume"]).Ok();
        Assert.Equal(File.ReadAllBytes(Path.Combine(whole, "adapter_model.safetensors")), File.ReadAllBytes(Path.Combine(broken, "adapter_model.safetensors")));
        Assert.Equal(300, File.ReadAllLines(Path.Combine(broken, "metrics.jsonl")).Length);
        Assert.Equal(2, Directory.EnumerateDirectories(broken, "checkpoint-*").Count());
        Assert.Empty(Directory.EnumerateFileSystemEntries(broken, ".*"));
    }

    private static string[] LongRun(string rows, string output, string[] more) =>
        ["train", "--model", TinyRun.Model, "--data", rows, "-o", output, "--rank", "4", "--dropout", "0.1", "--learning-rate", "1e-3", "--batch-size", "4", .. more];

    private static void ReadUntil(Process process, string beginning)
    {
        while (process.StandardOutput.ReadLine() is { } line)
            if (line.StartsWith(beginning, StringComparison.Ordinal)) return;
        Assert.Fail($"'{beginning}' was never printed: {process.StandardError.ReadToEnd()}");
    }

    private static Process Start(params string[] args)
    {
        ProcessStartInfo start = new("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
        start.ArgumentList.Add(_dll);
        foreach (string arg in args) start.ArgumentList.Add(arg);
        foreach (string name in start.Environment.Keys.Where(k => k.StartsWith("LORANET_", StringComparison.Ordinal)).ToList()) start.Environment.Remove(name);
        start.Environment["LORANET_BACKEND"] = "cpu";
        return Process.Start(start)!;
    }
}
