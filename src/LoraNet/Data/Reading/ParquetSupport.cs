using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;

namespace LoraNet.Data.Reading;

/// <summary>Whether this program can read Parquet. Trimmed and NativeAOT programs leave the Parquet library out (buildTransitive/LoraNet.targets).</summary>
internal static class ParquetSupport
{
    /// <summary>The switch <c>LoraNet.Parquet</c>, a constant to the trimmer; where it is not set, whether code can be compiled at run time.</summary>
    [FeatureSwitchDefinition("LoraNet.Parquet")]
    public static bool IsSupported => AppContext.TryGetSwitch("LoraNet.Parquet", out bool on) ? on : RuntimeFeature.IsDynamicCodeSupported;

    /// <summary>The error of a program without it.</summary>
    public static LoraNetException Missing(string path) => new(
        $"{path} is a Parquet file, and this program was built without the Parquet library.",
        "Give the data as .jsonl, use a build on the .NET runtime, or publish with -p:LoraNetParquet=true.");
}
