using System.Diagnostics;

namespace LoraNet.Tensors.Tests.Cpu;

/// <summary>
/// A part of the CPU tests again in a process without the wider instructions. By hand, with everything:
/// <c>DOTNET_EnableAVX512=0 dotnet test tests/LoraNet.Tensors.Tests -c Release --filter FullyQualifiedName~Tests.Cpu.CpuConformance</c>,
/// likewise DOTNET_EnableAVX2=0 (no fused multiply-add either), and DOTNET_EnableHWIntrinsic=0 (minutes).
/// </summary>
public sealed class InstructionSetTests
{
    [Theory]
    [InlineData("DOTNET_EnableAVX512")]
    [InlineData("DOTNET_EnableAVX2")]
    public void Kernels_agree_with_the_reference_without(string instructions)
    {
        string host = Environment.ProcessPath is { } path && Path.GetFileNameWithoutExtension(path) == "dotnet" ? path : "dotnet";
        ProcessStartInfo start = new(host) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.ArgumentList.Add("vstest");
        start.ArgumentList.Add(typeof(InstructionSetTests).Assembly.Location);
        start.ArgumentList.Add(
            "--TestCaseFilter:FullyQualifiedName~Tests.Cpu.SimdMathTests|FullyQualifiedName~Tests.Cpu.CpuBackendTests|FullyQualifiedName~Tests.Cpu.CpuConformance.Linear");
        start.Environment[instructions] = "0";
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0 && output.Contains("Passed!", StringComparison.Ordinal), output + errors.Result);
    }
}
