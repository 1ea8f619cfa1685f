namespace LoraNet.Cli.Settings;

/// <summary>Settings by GPU, from a small card to a large one; all use learning rate 2e-4 and dropout 0.05.</summary>
internal sealed record Preset(string Name, int Rank, int Alpha, bool Mlp)
{
    /// <summary>Smallest card first.</summary>
    public static IReadOnlyList<Preset> All { get; } = [new("t4", 8, 16, false), new("l4", 16, 32, false), new("a100", 32, 64, true), new("h100", 64, 128, true)];

    /// <summary>Adds the preset's values as a layer.</summary>
    /// <param name="values">The layers above it.</param>
    /// <param name="device">Name of the device, for <c>auto</c>.</param>
    /// <param name="deviceBytes">Memory of the device.</param>
    /// <param name="attention">Attention projections of the model's family.</param>
    /// <returns>The preset used, or null.</returns>
    public static Preset? Apply(SettingValues values, string device, long deviceBytes, IReadOnlyList<string> attention)
    {
        if (values.Text("preset") is not { } name) return null;
        Preset preset = name.Equals("auto", StringComparison.OrdinalIgnoreCase) ? ForDevice(device, deviceBytes) : All.First(p => p.Name.Equals(name, StringComparison.OrdinalIgnoreCase));
        string origin = $"preset {preset.Name}";
        values.Add("rank", preset.Rank.ToString(System.Globalization.CultureInfo.InvariantCulture), origin);
        values.Add("alpha", preset.Alpha.ToString(System.Globalization.CultureInfo.InvariantCulture), origin);
        values.Add("dropout", "0.05", origin);
        values.Add("learning-rate", "2e-4", origin);
        values.Add("target-modules", preset.Mlp ? "all-linear" : string.Join(',', attention), origin);
        return preset;
    }

    /// <summary>The preset of a device by its name, else by its memory.</summary>
    public static Preset ForDevice(string device, long bytes)
    {
        foreach (Preset preset in All.Reverse())
            if (device.Contains(preset.Name, StringComparison.OrdinalIgnoreCase) || (preset.Name == "h100" && device.Contains("h200", StringComparison.OrdinalIgnoreCase))) return preset;
        return bytes switch { >= 70L << 30 => All[3], >= 38L << 30 => All[2], >= 20L << 30 => All[1], _ => All[0] };
    }
}
