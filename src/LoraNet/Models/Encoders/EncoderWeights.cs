using System.Diagnostics.CodeAnalysis;
using LoraNet.Lora;
using LoraNet.Tensors;

namespace LoraNet.Models.Encoders;

/// <summary>
/// A classifier's tensors under transformers' names, whatever the file was: with or without the base model's prefix, with
/// LayerNorm's old names gamma and beta. A head that the file lacks (a bare base model) is new: weights ~ N(0, 0.02²) from a
/// seed, biases 0. Heads for other tasks are left out.
/// </summary>
internal sealed class EncoderWeights : IWeightSource
{
    private const double HeadDeviation = 0.02;
    private readonly IWeightSource _inner;
    private readonly EncoderOptions _options;
    private readonly Dictionary<string, string> _stored = [];
    private readonly Dictionary<string, HostTensor> _new = [];
    private readonly List<string> _names = [];

    public EncoderWeights(IWeightSource inner, EncoderOptions options, ulong seed)
    {
        (_inner, _options) = (inner, options);
        foreach (string stored in inner.Names)
        {
            string name = Canonical(stored);
            if (!IsPart(name) || !_stored.TryAdd(name, stored)) continue;
            _names.Add(name);
        }
        int hidden = options.HiddenSize, labels = options.Labels;
        if (options.Head == ClassificationHead.Pooler)
        {
            AddHead("classifier", labels, hidden, seed);
        }
        else
        {
            // One of the two without the other belongs to another task.
            bool whole = _stored.ContainsKey("classifier.dense.weight") && _stored.ContainsKey("classifier.out_proj.weight");
            AddHead("classifier.dense", hidden, hidden, seed, whole);
            AddHead("classifier.out_proj", labels, hidden, seed, whole);
        }
    }

    /// <summary>True when the head was not in the files.</summary>
    public bool HasNewHead => _new.Count > 0;

    public IReadOnlyCollection<string> Names => _names;

    public string? Directory => _inner.Directory;

    public bool TryGet(string name, [NotNullWhen(true)] out HostTensor? tensor)
    {
        if (_new.TryGetValue(name, out tensor)) return true;
        return _stored.TryGetValue(name, out string? stored) && _inner.TryGet(stored, out tensor);
    }

    // The name asked for goes to the files when it is unknown, so that their message names the nearest.
    public HostTensor Get(string name) => TryGet(name, out HostTensor? tensor) ? tensor : _inner.Get(name);

    public void Dispose() => _inner.Dispose();

    private void AddHead(string path, int outputs, int inputs, ulong seed, bool stored = true)
    {
        if (stored && _stored.ContainsKey(path + ".weight")) return;
        float[] values = new float[(long)outputs * inputs];
        LoraInitializer.Normal(values, HeadDeviation, seed, path);
        Put(path + ".weight", HostTensor.Copy(values, outputs, inputs));
        Put(path + ".bias", HostTensor.Copy(new float[outputs], outputs));
    }

    private void Put(string name, HostTensor tensor)
    {
        _new[name] = tensor;
        if (!_names.Contains(name)) _names.Add(name);
    }

    private string Canonical(string stored)
    {
        string name = stored;
        if (name.EndsWith(".gamma", StringComparison.Ordinal)) name = name[..^".gamma".Length] + ".weight";
        if (name.EndsWith(".beta", StringComparison.Ordinal)) name = name[..^".beta".Length] + ".bias";
        bool bare = name.StartsWith("embeddings.", StringComparison.Ordinal) || name.StartsWith("encoder.", StringComparison.Ordinal) || name.StartsWith("pooler.", StringComparison.Ordinal);
        return bare ? $"{_options.Prefix}.{name}" : name;
    }

    private bool IsPart(string name)
    {
        if (name.EndsWith(".position_ids", StringComparison.Ordinal) || name.EndsWith(".token_type_ids", StringComparison.Ordinal)) return false;
        if (name.StartsWith("classifier.", StringComparison.Ordinal)) return true;
        // RoBERTa's classifier has no pooler.
        if (name.StartsWith($"{_options.Prefix}.pooler.", StringComparison.Ordinal)) return _options.Head == ClassificationHead.Pooler;
        return name.StartsWith(_options.Prefix + ".", StringComparison.Ordinal);
    }
}
