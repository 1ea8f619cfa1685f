namespace LoraNet.Testing;

/// <summary>Where test inputs live: fixtures in the repository, and larger shared data that may be absent.</summary>
internal static class TestData
{
    /// <summary>The repository root, found by walking up from the test binaries to LoraNet.sln.</summary>
    public static string Root { get; } = FindRoot();

    /// <summary>Fixtures that are part of the repository.</summary>
    public static string Fixtures => Path.Combine(Root, "tests", "fixtures");

    /// <summary>Optional larger data: $LORANET_SHARED, else a folder named "shared" beside the repository; null if absent.</summary>
    public static string? Shared { get; } = FindShared();

    /// <summary>A path under the shared data. Call only from tests marked <see cref="SharedFactAttribute"/>.</summary>
    public static string SharedPath(params string[] parts) => Path.Combine([Shared!, .. parts]);

    private static string FindRoot()
    {
        for (DirectoryInfo? d = new(AppContext.BaseDirectory); d is not null; d = d.Parent)
            if (File.Exists(Path.Combine(d.FullName, "LoraNet.sln"))) return d.FullName;
        throw new InvalidOperationException("LoraNet.sln not found above the test binaries.");
    }

    private static string? FindShared()
    {
        string? env = Environment.GetEnvironmentVariable("LORANET_SHARED");
        string path = string.IsNullOrEmpty(env) ? Path.Combine(Root, "..", "shared") : env;
        return Directory.Exists(Path.Combine(path, "reference")) ? Path.GetFullPath(path) : null;
    }
}

/// <summary>A fact that needs the shared data and is reported as skipped without it.</summary>
internal sealed class SharedFactAttribute : FactAttribute
{
    public SharedFactAttribute()
    {
        if (TestData.Shared is null) Skip = "shared test data not found beside the repository (set LORANET_SHARED)";
    }
}

/// <summary>A theory that needs the shared data and is reported as skipped without it.</summary>
internal sealed class SharedTheoryAttribute : TheoryAttribute
{
    public SharedTheoryAttribute()
    {
        if (TestData.Shared is null) Skip = "shared test data not found beside the repository (set LORANET_SHARED)";
    }
}
