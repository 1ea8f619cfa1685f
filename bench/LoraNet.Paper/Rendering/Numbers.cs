using System.Globalization;

namespace LoraNet.Paper.Rendering;

/// <summary>Numbers as tables have them.</summary>
internal static class Numbers
{
    /// <summary>Mean ± standard deviation (n − 1) of runs; the number alone when there is one, and said so by the seeds column.</summary>
    public static string Spread(IReadOnlyList<double> values, string format = "0.0")
    {
        double mean = values.Average();
        if (values.Count == 1) return Plain(mean, format);
        double deviation = Math.Sqrt(values.Sum(v => (v - mean) * (v - mean)) / (values.Count - 1));
        return $"{Plain(mean, format)} ± {Plain(deviation, format)}";
    }

    /// <summary>A number in invariant form.</summary>
    public static string Plain(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);

    /// <summary>A whole number with separators.</summary>
    public static string Whole(double value) => Plain(value, "#,0");

    /// <summary>Bytes in decimal units.</summary>
    public static string Bytes(double bytes) => bytes switch
    {
        >= 1e12 => Plain(bytes / 1e12, "0.00") + " TB",
        >= 1e9 => Plain(bytes / 1e9, "0.00") + " GB",
        >= 1e6 => Plain(bytes / 1e6, "0.00") + " MB",
        _ => Plain(bytes / 1e3, "0.0") + " kB",
    };
}
