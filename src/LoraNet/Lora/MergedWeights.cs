using System.Diagnostics.CodeAnalysis;
using System.Numerics.Tensors;
using LoraNet.Models;
using LoraNet.Tensors;

namespace LoraNet.Lora;

/// <summary>
/// The weights of a model with its active adapters merged, one tensor at a time: W' = W + Σ s·B·A (DoRA: (m/n) ⊙ (W + s·B·A),
/// embeddings: W + s·(B·A)ᵀ), biases b' = b + Σ s·b_B, trained copies as they are. Computed in binary32 from the stored
/// originals, which are not touched; the caller rounds once to the wanted type.
/// </summary>
public sealed class MergedWeights : IWeightSource
{
    private readonly PretrainedModel _model;
    private readonly Dictionary<string, Func<float[]>> _changed = [];
    private readonly Dictionary<string, HostTensor> _cache = [];
    private readonly List<string> _names;

    /// <summary>Takes the adapters that are active now.</summary>
    /// <exception cref="LoraNetException">lora_bias without a base bias cannot be merged.</exception>
    public MergedWeights(PretrainedModel model)
    {
        _model = model;
        Dictionary<nint, List<BaseTensor>> users = [];
        foreach (Module module in model.Modules)
        {
            foreach (BaseTensor tensor in module.Tensors)
            {
                if (!users.TryGetValue(tensor.Source.Address, out List<BaseTensor>? list)) users[tensor.Source.Address] = list = [];
                list.Add(tensor);
            }
            Plan(module);
        }
        _names = [.. model.Weights.Names];
        // A tied pair is stored once; when only one side changed, or each in its own way, both must be written.
        foreach (List<BaseTensor> tied in users.Values.Where(l => l.Count > 1))
        {
            if (!tied.Exists(t => _changed.ContainsKey(t.Name)) || tied.TrueForAll(t => t.Override is not null && t.Override == tied[0].Override)) continue;
            Untied = true;
            foreach (BaseTensor tensor in tied) if (!_names.Contains(tensor.Name)) _names.Add(tensor.Name);
        }
    }

    /// <summary>True when a tied head and embedding no longer agree, so that config.json must say tie_word_embeddings: false.</summary>
    public bool Untied { get; }

    /// <inheritdoc/>
    public IReadOnlyCollection<string> Names => _names;

    /// <inheritdoc/>
    public string? Directory => null;

    /// <summary>Whether the adapters change this tensor.</summary>
    public bool IsChanged(string name) => _changed.ContainsKey(name);

    /// <summary>The merged values in file order, computed anew.</summary>
    public float[] Compute(string name) => _changed.TryGetValue(name, out Func<float[]>? compute) ? compute() : Stored(name).ToArray();

    /// <summary>The stored original that a name refers to, following a tie.</summary>
    public HostTensor Stored(string name)
    {
        if (_model.Weights.TryGet(name, out HostTensor? tensor)) return tensor;
        foreach (BaseTensor candidate in _model.Modules.SelectMany(m => m.Tensors)) if (candidate.Name == name) return candidate.Source;
        return _model.Weights.Get(name);
    }

    /// <inheritdoc/>
    public bool TryGet(string name, [NotNullWhen(true)] out HostTensor? tensor)
    {
        tensor = null;
        if (!_names.Contains(name)) return false;
        tensor = Get(name);
        return true;
    }

    /// <inheritdoc/>
    public HostTensor Get(string name)
    {
        if (!_changed.ContainsKey(name)) return Stored(name);
        if (!_cache.TryGetValue(name, out HostTensor? tensor)) _cache[name] = tensor = HostTensor.Copy(Compute(name), Stored(name).Shape);
        return tensor;
    }

    /// <inheritdoc/>
    public void Dispose() => _cache.Clear();

    private void Plan(Module module)
    {
        foreach (BaseTensor tensor in module.Tensors)
            if (tensor.Override is { } copy) _changed[tensor.Name] = () => copy.ToFile();
        switch (module)
        {
            case LinearModule linear when linear.Active.Count + linear.Methods.Count > 0:
                List<LoraLayer> layers = [.. linear.Active];
                List<MethodLayer> methods = [.. linear.Methods];
                _changed[linear.Weight.Name] = () => MergeLinear(linear, layers, methods);
                bool hasBias = layers.Exists(l => l.Bias is not null);
                if (!hasBias && (linear.Bias is null || methods.Count == 0)) break;
                if (linear.Bias is null)
                    throw new LoraNetException($"'{linear.Path}' has lora_bias but no bias of its own, so the adapter cannot be merged.", "Keep it as an adapter, or train without --lora-bias.");
                _changed[linear.Bias.Name] = () => MergeBias(linear, layers, methods);
                break;
            case EmbeddingModule { Active.Count: > 0 } embedding:
                List<LoraLayer> tables = [.. embedding.Active];
                _changed[embedding.Weight.Name] = () => MergeEmbedding(embedding, tables);
                break;
        }
    }

    private static float[] MergeLinear(LinearModule linear, List<LoraLayer> layers, List<MethodLayer> methods)
    {
        int outputs = linear.Out, inputs = linear.In;
        float[] original = linear.Weight.Weight!.Source.ToArray();
        if (linear.Weight.Transposed) original = Parameter.Transpose(original, inputs, outputs);
        float[] merged = (float[])original.Clone();
        foreach (LoraLayer layer in layers)
        {
            float[] a = layer.A.ToFile(), b = layer.B.ToFile();
            float[]? magnitude = layer.Magnitude?.ToFile();
            int rank = layer.Rank;
            float scaling = layer.Scaling;
            Parallel.For(0, outputs, o =>
            {
                Span<float> row = merged.AsSpan(o * inputs, inputs);
                if (magnitude is null)
                {
                    for (int r = 0; r < rank; r++) TensorPrimitives.MultiplyAdd(a.AsSpan(r * inputs, inputs), scaling * b[o * rank + r], row, row);
                    return;
                }
                // W' − W = g·(W + s·B·A) − W, so that several adapters still add up.
                float[] adapted = original.AsSpan(o * inputs, inputs).ToArray();
                for (int r = 0; r < rank; r++) TensorPrimitives.MultiplyAdd(a.AsSpan(r * inputs, inputs), scaling * b[o * rank + r], adapted, adapted);
                float g = magnitude[o] / TensorPrimitives.Norm<float>(adapted);
                TensorPrimitives.Multiply(adapted, g, adapted);
                if (layers.Count > 1)
                {
                    TensorPrimitives.Subtract(adapted, original.AsSpan(o * inputs, inputs), adapted);
                    TensorPrimitives.Add(row, adapted, row);
                }
                else
                {
                    adapted.CopyTo(row);
                }
            });
        }
        foreach (MethodLayer method in methods) method.MergeOutput(merged, outputs, inputs);
        foreach (MethodLayer method in methods) method.MergeInput(merged, outputs, inputs);
        return linear.Weight.Transposed ? Parameter.Transpose(merged, outputs, inputs) : merged;
    }

    private static float[] MergeBias(LinearModule linear, List<LoraLayer> layers, List<MethodLayer> methods)
    {
        float[] bias = linear.Bias!.Override?.ToFile() ?? linear.Bias.Source.ToArray();
        foreach (LoraLayer layer in layers)
            if (layer.Bias is not null) TensorPrimitives.MultiplyAdd(layer.Bias.ToFile(), layer.Scaling, bias, bias);
        foreach (MethodLayer method in methods) method.MergeBias(bias);
        return bias;
    }

    private static float[] MergeEmbedding(EmbeddingModule embedding, List<LoraLayer> layers)
    {
        int vocabulary = embedding.Weight.Weight!.Rows, dim = embedding.Weight.Weight.Columns;
        float[] merged = embedding.Weight.Source.ToArray();
        float[] original = layers.Exists(l => l.Magnitude is not null) ? (float[])merged.Clone() : merged;
        foreach (LoraLayer layer in layers)
        {
            int rank = layer.Rank;
            float scaling = layer.Scaling;
            // In memory A is [vocabulary, r]; B [dim, r] is transposed so that whole rows are added.
            float[] a = layer.A.Value.Backend.Download(layer.A.Value);
            float[] bt = Parameter.Transpose(layer.B.ToFile(), dim, rank);
            if (layer.Magnitude is not null)
            {
                MergeDoraTable(merged, original, a, bt, layer);
                continue;
            }
            Parallel.For(0, vocabulary, v =>
            {
                Span<float> row = merged.AsSpan(v * dim, dim);
                for (int r = 0; r < rank; r++) TensorPrimitives.MultiplyAdd(bt.AsSpan(r * dim, dim), scaling * a[v * rank + r], row, row);
            });
        }
        return merged;
    }

    /// <summary>merged += g ⊙ (W + s·(B·A)ᵀ) − W, where g is the magnitude over the norms of the columns, taken over the vocabulary.</summary>
    private static void MergeDoraTable(float[] merged, float[] original, float[] a, float[] bt, LoraLayer layer)
    {
        int rank = layer.Rank, dim = bt.Length / rank, vocabulary = a.Length / rank;
        float[] adapted = (float[])original.Clone();
        double[] squares = new double[dim];
        for (int v = 0; v < vocabulary; v++)
        {
            Span<float> row = adapted.AsSpan(v * dim, dim);
            for (int r = 0; r < rank; r++) TensorPrimitives.MultiplyAdd(bt.AsSpan(r * dim, dim), layer.Scaling * a[v * rank + r], row, row);
            for (int d = 0; d < dim; d++) squares[d] += (double)row[d] * row[d];
        }
        float[] magnitude = layer.Magnitude!.ToFile();
        for (int v = 0; v < vocabulary; v++)
        {
            for (int d = 0; d < dim; d++)
            {
                int i = v * dim + d;
                merged[i] += (float)(magnitude[d] / Math.Sqrt(squares[d]) * adapted[i]) - original[i];
            }
        }
    }
}
