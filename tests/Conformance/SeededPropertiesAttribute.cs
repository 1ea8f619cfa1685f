using FsCheck.Xunit;

namespace LoraNet.Tests.Conformance;

/// <summary>
/// Properties whose cases are the same in every run, so that a failure is repeatable and a change is judged by its own merits.
/// Set LORANET_TEST_SEED to another pair of numbers (or to "random") to explore.
/// </summary>
[AttributeUsage(AttributeTargets.Class)]
public sealed class SeededPropertiesAttribute : PropertiesAttribute
{
    /// <summary>Takes the seed from the environment, or the fixed one.</summary>
    public SeededPropertiesAttribute()
    {
        string? seed = Environment.GetEnvironmentVariable("LORANET_TEST_SEED");
        if (seed != "random") Replay = string.IsNullOrEmpty(seed) ? "(8058586381015962349,11878771945194499811)" : seed;
    }
}
