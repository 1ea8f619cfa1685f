using System.CommandLine;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using System.Text.Json.Nodes;
using LoraNet.Cli.Devices;
using LoraNet.Cli.Output;
using LoraNet.Tensors;

namespace LoraNet.Cli.Commands;

/// <summary><c>loranet doctor</c>: what this machine has and what will be used.</summary>
internal static class DoctorCommand
{
    public static Command Create(CommandContext context)
    {
        Command command = new("doctor", "Show processor features, GPUs, memory, and what will be used.");
        Option<bool> json = AllCommands.JsonOption();
        command.Add(json);
        command.SetAction((parse, _) => Task.FromResult(Run(context.Terminal(parse.GetValue(json)), context.Host)));
        return command;
    }

    private static int Run(Terminal terminal, CommandHost host)
    {
        string features = string.Join(", ", Features());
        int bits = Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : 128;
        long memory = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        IReadOnlyList<CudaCard> gpus = CardSupport.Current.Cards();
        using Backend backend = BackendFactory.Create(new Settings.SettingValues(BackendFactory.Settings), host);
        terminal.Heading($"LoraNet {CommandLine.Version}");
        List<IReadOnlyList<string>> rows =
        [
            ["system", $"{RuntimeInformation.OSDescription}, {RuntimeInformation.ProcessArchitecture}"],
            ["runtime", RuntimeInformation.FrameworkDescription],
            ["processors", Environment.ProcessorCount.ToString(CultureInfo.InvariantCulture)],
            ["processor features", features],
            ["vector width", $"{bits} bits"],
            ["memory", $"{Format.Bytes(memory)} for this process"],
            ["NVIDIA cards", CardSupport.Current.Missing is { } missing ? missing : gpus.Count == 0 ? "none (no card, or no display driver)" : gpus.Count.ToString(CultureInfo.InvariantCulture)],
        ];
        foreach (CudaCard gpu in gpus) rows.Add([$"card {gpu.Index}", $"{gpu.Name}, {Format.Bytes(gpu.MemoryBytes)}, compute capability {gpu.Capability}"]);
        rows.Add(["will be used", backend.Name]);
        terminal.Table(["", ""], rows);
        terminal.Result(new JsonObject
        {
            ["version"] = CommandLine.Version,
            ["system"] = RuntimeInformation.OSDescription,
            ["architecture"] = RuntimeInformation.ProcessArchitecture.ToString(),
            ["runtime"] = RuntimeInformation.FrameworkDescription,
            ["processors"] = Environment.ProcessorCount,
            ["cpu_features"] = new JsonArray([.. Features().Select(f => (JsonNode)f)]),
            ["vector_bits"] = bits,
            ["memory_bytes"] = memory,
            ["cuda"] = CardSupport.Current.Missing is null,
            ["gpus"] = new JsonArray([.. gpus.Select(g => new JsonObject { ["index"] = g.Index, ["name"] = g.Name, ["memory_bytes"] = g.MemoryBytes, ["compute_capability"] = g.Capability })]),
            ["device"] = backend.Name,
        });
        return ExitCodes.Fine;
    }

    private static IEnumerable<string> Features()
    {
        if (Avx512F.IsSupported) yield return "AVX-512F";
        if (Avx512BW.IsSupported) yield return "AVX-512BW";
        if (Avx2.IsSupported) yield return "AVX2";
        if (Fma.IsSupported) yield return "FMA";
        if (AvxVnni.IsSupported) yield return "AVX-VNNI";
        if (System.Runtime.Intrinsics.Arm.AdvSimd.IsSupported) yield return "AdvSimd";
        if (System.Runtime.Intrinsics.Arm.Dp.IsSupported) yield return "DotProd";
    }
}
