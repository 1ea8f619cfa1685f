using System.Globalization;
using LoraNet.Cli.Devices;
using LoraNet.Cli.Settings;
using LoraNet.Tensors;
using LoraNet.Tensors.Cpu;
using LoraNet.Tensors.Reference;

namespace LoraNet.Cli;

/// <summary>Chooses where a command computes: <c>--device auto|cpu|cuda[:N]</c>, <c>--dtype</c>, <c>--threads</c>.</summary>
internal static class BackendFactory
{
    /// <summary>The settings it reads.</summary>
    public static IReadOnlyList<Setting> Settings { get; } = TrainSettings.Some("device", "dtype", "tf32", "base-quantization", "threads", "low-memory");

    /// <summary>Opens the device the settings ask for: <c>auto</c> takes the first NVIDIA card that is new enough, else the CPU.</summary>
    /// <exception cref="LoraNetException">There is no such device, or it cannot do what was asked.</exception>
    public static Backend Create(SettingValues values, CommandHost host)
    {
        string quantization = values.Text("base-quantization") ?? "none";
        if (quantization != "none") throw values.Error("base-quantization", $"{quantization} weights are not supported yet.", "Leave it out.");
        if (values.Integer("threads") is { } threads and <= 0) throw values.Error("threads", $"{threads} is not a positive number.");
        int? card = Card(values, host);
        return card is { } index ? CreateCuda(values, index) : CreateHost(values, host);
    }

    /// <summary>Memory that the device has: the machine's memory for the CPU.</summary>
    public static long DeviceBytes(Backend backend)
    {
        if (backend.IsHost) return GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        IReadOnlyList<CudaCard> cards = CardSupport.Current.Cards();
        return cards.FirstOrDefault(c => backend.Name.Contains(c.Name, StringComparison.Ordinal))?.MemoryBytes ?? cards.FirstOrDefault()?.MemoryBytes ?? long.MaxValue;
    }

    // The number of the card to use, or null for the processor.
    private static int? Card(SettingValues values, CommandHost host)
    {
        string device = (values.Text("device") ?? "auto").ToLowerInvariant();
        if (device == "cpu") return null;
        if (device == "auto")
        {
            // A backend named in the environment computes on the processor.
            if (host.Environment("LORANET_BACKEND") is not null) return null;
            return CardSupport.Current.Cards().FirstOrDefault(static c => c.NewEnough)?.Index;
        }
        string number = device.StartsWith("cuda:", StringComparison.Ordinal) ? device[5..] : device == "cuda" ? "0" : "";
        if (!int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out int index))
            throw values.Error("device", $"'{device}' is not a device.", "Use auto, cpu, cuda or cuda:N.");
        return index;
    }

    private static Backend CreateCuda(SettingValues values, int index)
    {
        if (values.Switch("low-memory")) throw values.Error("low-memory", "--low-memory is for the CPU; on a GPU weights are always one copy.", "Leave it out.");
        DType? type = values.Text("dtype") switch { "f32" => DType.F32, "bf16" => DType.BF16, "f16" => DType.F16, _ => null };
        bool tf32 = values.Switch("tf32");
        if (tf32 && type is not (null or DType.F32)) throw values.Error("tf32", $"--tf32 is a way to multiply f32 matrices, and --dtype is {values.Text("dtype")}.", "Leave one of the two out.");
        return CardSupport.Current.Open(index, type, tf32);
    }

    private static Backend CreateHost(SettingValues values, CommandHost host)
    {
        if (values.Switch("tf32")) throw values.Error("tf32", "--tf32 is for NVIDIA cards; the CPU computes in plain f32.", "Leave it out.");
        string dtype = values.Text("dtype") ?? "auto";
        if (dtype is not ("auto" or "f32")) throw values.Error("dtype", $"the CPU computes in f32, not {dtype}.", "Leave --dtype out; weights stay in their stored type either way.");
        return host.Environment("LORANET_BACKEND") switch
        {
            null or "cpu" => new CpuBackend(new CpuBackendOptions { Threads = values.Integer("threads") ?? 0, LowMemory = values.Switch("low-memory") }),
            "reference" => new ReferenceBackend(),
            { } other => throw new LoraNetException($"LORANET_BACKEND is '{other}'.", "Use cpu or reference, or unset it."),
        };
    }
}
