using System.Text;
using LoraNet.Data;
using LoraNet.Models;
using LoraNet.Tests.Formats;
using LoraNet.Tokenizers;

namespace LoraNet.Tests.Data;

/// <summary>A folder with a tokenizer, and what tests do with it.</summary>
internal sealed class DataFixture : IDisposable
{
    private readonly TemporaryFolder _model = new();
    private readonly TemporaryFolder _data = new();

    public DataFixture(string? chatTemplate = null, string eos = "</s>") => Tokenizer = TestTokenizer.Create(_model, chatTemplate, eos);

    public Tokenizer Tokenizer { get; }

    public string ModelFolder => _model.Path;

    public string Folder => _data.Path;

    public string Write(string name, string text) => Write(name, Encoding.UTF8.GetBytes(text));

    public string Write(string name, byte[] bytes)
    {
        string path = _data[name];
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, bytes);
        return path;
    }

    public DataSet Load(string name, string text, DataOptions? options = null) => DataSet.Load(Write(name, text), Tokenizer, options);

    public string Fails(string name, string text, DataOptions? options = null)
    {
        string message = Assert.Throws<LoraNetException>(() => Load(name, text, options)).Message;
        Assert.Contains(Path.Combine(Folder, name), message);
        return message;
    }

    /// <summary>A row's text with the trained part in brackets, special tokens written out.</summary>
    public string Marked(DataSet set, int row)
    {
        PreviewSample sample = DataPreview.Create(set, Tokenizer, row + 1).Samples[row];
        return string.Concat(sample.Parts.Select(p => p.Trained ? $"[{p.Text}]" : p.Text));
    }

    public string Marked(string name, string text, DataOptions? options = null) => Marked(Load(name, text, options), 0);

    public string TextOf(TokenRow row) => Tokenizer.Decode(row.InputIds, skipSpecialTokens: false);

    public void Dispose()
    {
        _model.Dispose();
        _data.Dispose();
    }
}
