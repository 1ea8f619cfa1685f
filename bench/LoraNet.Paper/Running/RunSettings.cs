namespace LoraNet.Paper.Running;

/// <summary>Where things are and how much is done.</summary>
internal sealed record RunSettings
{
    /// <summary>A folder with glue/, e2e/, TinyStories-656K/ and, for the encoder, minilm/.</summary>
    public required string Data { get; init; }

    /// <summary>Where results go, one file of JSON lines a job.</summary>
    public required string Results { get; init; }

    /// <summary>cuda or cpu.</summary>
    public bool Cuda { get; init; }

    /// <summary>A few steps on a few rows: shows that every job runs, and no more.</summary>
    public bool Quick { get; init; }

    /// <summary>The runs that a machine without a GPU can do in an hour instead of all.</summary>
    public bool Small { get; init; }

    /// <summary>No job is begun after so many seconds.</summary>
    public double Seconds { get; init; } = double.PositiveInfinity;

    /// <summary>Jobs at a time, each on a device's stream of its own; measurements of time run alone all the same.</summary>
    public int Threads { get; init; } = 1;

    /// <summary>The encoder's folder.</summary>
    public string Encoder => Path.Combine(Data, "minilm");

    /// <summary>The language model's folder.</summary>
    public string LanguageModel => Path.Combine(Data, "TinyStories-656K");

    /// <summary>Steps to do when <paramref name="wanted"/> would be done in earnest.</summary>
    public int Steps(int wanted) => Quick ? Math.Min(wanted, 2) : wanted;

    /// <summary>Rows to use of <paramref name="wanted"/>.</summary>
    public int Rows(int wanted) => Quick ? Math.Min(wanted, 16) : wanted;
}
