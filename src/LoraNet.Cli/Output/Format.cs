using System.Globalization;

namespace LoraNet.Cli.Output;

/// <summary>Numbers for people.</summary>
internal static class Format
{
    /// <summary>Bytes with a binary unit.</summary>
    public static string Bytes(double bytes) => bytes switch
    {
        >= 1L << 40 => Text(bytes / (1L << 40), "0.##") + " TiB",
        >= 1 << 30 => Text(bytes / (1 << 30), "0.##") + " GiB",
        >= 1 << 20 => Text(bytes / (1 << 20), "0.#") + " MiB",
        >= 1 << 10 => Text(bytes / (1 << 10), "0.#") + " KiB",
        _ => Text(bytes, "0") + " B",
    };

    /// <summary>A count with separators.</summary>
    public static string Count(double count) => Text(count, "#,0");

    /// <summary>A rate or count shortened to three digits: 99.4k.</summary>
    public static string Short(double value) => value switch
    {
        >= 999_500_000 => Text(value / 1e9, "0.##") + "B",
        >= 999_500 => Text(value / 1e6, "0.##") + "M",
        >= 10_000 => Text(value / 1e3, "0.#") + "k",
        >= 100 => Text(value, "0"),
        _ => Text(value, "0.#"),
    };

    /// <summary>Floating-point operations with a unit.</summary>
    public static string Flops(double count) => count >= 1e9 ? Short(count / 1e9) + " GFLOP" : Short(count / 1e6) + " MFLOP";

    /// <summary>A loss.</summary>
    public static string Loss(double loss) => Text(loss, "0.0000");

    /// <summary>A share in percent, with three digits.</summary>
    public static string Percent(double share) => Text(share * 100, share is > 0 and < 0.01 ? "0.0##" : "0.##") + " %";

    /// <summary>A small number such as a difference or a learning rate.</summary>
    public static string Small(double value) => Text(value, "0.0e-0");

    /// <summary>A number as short as it can be read back.</summary>
    public static string Exact(double value) => value.ToString("R", CultureInfo.InvariantCulture).Replace("E-0", "e-").Replace("E", "e");

    /// <summary>Seconds as 41 s, 3:07 or 2:03:07.</summary>
    public static string Duration(double seconds)
    {
        if (!double.IsFinite(seconds)) return "?";
        TimeSpan time = TimeSpan.FromSeconds(Math.Max(0, seconds));
        if (time.TotalSeconds < 60) return Text(time.TotalSeconds, time.TotalSeconds < 10 ? "0.0" : "0") + " s";
        return time.TotalHours < 1 ? $"{time.Minutes}:{time.Seconds:00}" : $"{(int)time.TotalHours}:{time.Minutes:00}:{time.Seconds:00}";
    }

    private static string Text(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);
}
