using System.Globalization;
using LoraNet.Cli.Settings;
using LoraNet.Tensors;
using LoraNet.Tensors.Cpu;
using LoraNet.Tensors.Reference;

namespace LoraNet.Cli;

/// <summary>Chooses where a command computes: <c>--device auto|cpu|cuda[:N]</c>, <c>--dtype</c>, <c>--threads</c>.</summary>
internal static class BackendFactory
{
    /// <summary>The settings it reads.</summary>
    public static IReadOnlyList<Setting> Settings { get; } = TrainSettings.Some("device", "dtype", "base-quantization", "threads", "low-memory");

    /// <summary>Opens the device the settings ask for.</summary>
    /// <exception cref="LoraNetException">There is no such device, or it cannot do what was asked.</exception>
    public static Backend Create(SettingValues values, CommandHost host)
    {
        string device = (values.Text("device") ?? "auto").ToLowerInvariant();
        if (device is not ("auto" or "cpu"))
        {
            string index = device.StartsWith("cuda:", StringComparison.Ordinal) ? device[5..] : device == "cuda" ? "0" : "";
            if (!int.TryParse(index, NumberStyles.None, CultureInfo.InvariantCulture, out _))
                throw values.Error("device", $"'{device}' is not a device.", "Use auto, cpu, cuda or cuda:N.");
            throw values.Error("device", $"'{device}' was asked for, but this build computes on the CPU only.", "Use --device cpu.");
        }
        string dtype = values.Text("dtype") ?? "auto";
        if (dtype is not ("auto" or "f32")) throw values.Error("dtype", $"the CPU computes in f32, not {dtype}.", "Leave --dtype out; weights stay in their stored type either way.");
        string quantization = values.Text("base-quantization") ?? "none";
        if (quantization != "none") throw values.Error("base-quantization", $"{quantization} weights are not supported on the CPU.", "Leave it out.");
        if (values.Integer("threads") is { } threads and <= 0) throw values.Error("threads", $"{threads} is not a positive number.");
        return host.Environment("LORANET_BACKEND") switch
        {
            null or "cpu" => CreateCpu(values.Integer("threads") ?? 0, values.Switch("low-memory")),
            "reference" => new ReferenceBackend(),
            { } other => throw new LoraNetException($"LORANET_BACKEND is '{other}'.", "Use cpu or reference, or unset it."),
        };
    }

    private static CpuBackend CreateCpu(int threads, bool lowMemory) => new(new CpuBackendOptions { Threads = threads, LowMemory = lowMemory });

    /// <summary>Memory that the device has: the machine's memory for the CPU.</summary>
    public static long DeviceBytes(Backend backend) => backend.IsHost ? GC.GetGCMemoryInfo().TotalAvailableMemoryBytes : long.MaxValue;
}
