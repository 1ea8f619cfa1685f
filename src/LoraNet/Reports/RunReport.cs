namespace LoraNet.Reports;

/// <summary>A prompt continued by the model before and after training.</summary>
/// <param name="Prompt">What the model was given.</param>
/// <param name="Wanted">What the data continues with.</param>
/// <param name="Before">The base model's continuation.</param>
/// <param name="After">The trained model's continuation.</param>
public sealed record ReportSample(string Prompt, string Wanted, string Before, string After);

/// <summary>A named group of facts shown as a table.</summary>
/// <param name="Title">Heading.</param>
/// <param name="Facts">Name, value, and where the value came from (or null).</param>
public sealed record ReportSection(string Title, IReadOnlyList<(string Name, string Value, string? Note)> Facts);

/// <summary>Everything a report shows.</summary>
public sealed record RunReport
{
    /// <summary>Heading of the page.</summary>
    public required string Title { get; init; }

    /// <summary>One sentence under the heading.</summary>
    public required string Summary { get; init; }

    /// <summary>Big figures: name and value.</summary>
    public required IReadOnlyList<(string Name, string Value)> Figures { get; init; }

    /// <summary>Steps and evaluations.</summary>
    public required RunHistory History { get; init; }

    /// <summary>Settings, hardware, data.</summary>
    public required IReadOnlyList<ReportSection> Sections { get; init; }

    /// <summary>Samples before and after.</summary>
    public IReadOnlyList<ReportSample> Samples { get; init; } = [];

    /// <summary>Notes and warnings of the run.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];
}
