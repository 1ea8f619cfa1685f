using BenchmarkDotNet.Attributes;
using LoraNet.Tokenizers;

namespace LoraNet.Bench;

/// <summary>
/// Encoding speed on one core against Hugging Face's library (native Rust, through Tokenizers.DotNet).
/// Needs LORANET_SHARED: the folder with data/tinyshakespeare and data/tokenizers.
/// </summary>
[MemoryDiagnoser]
public class TokenizerBenchmarks
{
    private string _text = "";
    private string[] _lines = [];
    private Tokenizer _ours = null!;
    private global::Tokenizers.DotNet.Tokenizer _theirs = null!;

    /// <summary>The tokenizer file, under data/.</summary>
    [Params("tokenizers/gpt2/tokenizer.json", "tokenizers/mistral-v1/tokenizer.json", "tokenizers/bert/tokenizer.json")]
    public string File { get; set; } = "";

    [GlobalSetup]
    public void Setup()
    {
        string shared = Environment.GetEnvironmentVariable("LORANET_SHARED") ?? throw new LoraNetException("LORANET_SHARED is not set.", "Name the folder with data/tokenizers.");
        string path = Path.Combine(shared, "data", File);
        _text = System.IO.File.ReadAllText(Path.Combine(shared, "data", "tinyshakespeare", "input.txt"));
        _lines = _text.Split('\n');
        _ours = Tokenizer.Load(path);
        _theirs = new global::Tokenizers.DotNet.Tokenizer(path);
    }

    [GlobalCleanup]
    public void Cleanup() => _theirs.Dispose();

    [Benchmark(Baseline = true)]
    public int HuggingFaceDocument() => _theirs.Encode(_text).Length;

    [Benchmark]
    public int Document() => _ours.Encode(_text).Length;

    [Benchmark]
    public int DocumentWithRanges()
    {
        int n = _ours.Encode(_text, out TokenSpan[] spans).Length;
        return n + spans.Length;
    }

    [Benchmark]
    public int HuggingFaceLines()
    {
        int n = 0;
        foreach (string line in _lines) n += _theirs.Encode(line).Length;
        return n;
    }

    [Benchmark]
    public int Lines()
    {
        int n = 0;
        foreach (string line in _lines) n += _ours.Encode(line).Length;
        return n;
    }

    [Benchmark]
    public int LinesInParallel() => _ours.EncodeBatch(_lines).Length;
}
