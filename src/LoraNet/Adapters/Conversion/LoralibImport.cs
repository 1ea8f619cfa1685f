using LoraNet.Formats;
using LoraNet.Lora;
using LoraNet.Tensors;

namespace LoraNet.Adapters;

/// <summary>What a loralib checkpoint does not say about itself.</summary>
public sealed record LoralibOptions
{
    /// <summary>lora_alpha of the training; loralib's scaling is alpha / r.</summary>
    public required double Alpha { get; init; }

    /// <summary>
    /// enable_lora of MergedLinear layers (q, k, v in one matrix). Null: [true, false, true] where the shapes say two parts,
    /// all true where they say three.
    /// </summary>
    public IReadOnlyList<bool>? EnableLora { get; init; }

    /// <summary>Written to adapter_config.json.</summary>
    public string? BaseModelNameOrPath { get; init; }

    /// <summary>PEFT's task_type; null takes SEQ_CLS where there is a classifier, else CAUSAL_LM.</summary>
    public string? TaskType { get; init; }
}

/// <summary>
/// Turns checkpoints of loralib (https://github.com/microsoft/LoRA), the paper's library, into PEFT folders and back.
/// loralib names tensors <c>path.lora_A</c> and <c>path.lora_B</c>; its MergedLinear keeps one pair of rank r for each enabled part of
/// a fused projection, which becomes one pair of rank r·n with a block-structured B:
/// A' = A [r·n, in], B' [out, r·n] with part g's rows and columns g·r to (g + 1)·r from B, zero elsewhere, and alpha' = alpha·n.
/// </summary>
public static class LoralibImport
{
    private static readonly string[] _fused = ["c_attn", "qkv_proj", "query_key_value", "in_proj", "Wqkv", "qkv"];

    /// <summary>Writes a PEFT folder from a loralib file. Tensors other than A and B (a trained classifier) become modules_to_save.</summary>
    /// <param name="file">.pt or .bin of PyTorch 1.6 or later, or .safetensors with loralib's names.</param>
    /// <param name="output">The folder to write.</param>
    /// <param name="options">Alpha and the rest.</param>
    /// <exception cref="LoraNetException">The file is not a loralib checkpoint, or its shapes need an option that is missing.</exception>
    public static PeftAdapterConfig ToPeft(string file, string output, LoralibOptions options)
    {
        Dictionary<string, HostTensor> tensors = new(StringComparer.Ordinal);
        foreach ((string name, HostTensor tensor) in ReadFile(file)) tensors[PeftNames.WithoutModule(name)] = tensor;
        List<SafetensorsEntry> entries = [];
        List<(string Path, int Rank, double Alpha)> layers = [];
        HashSet<string> saved = [];
        bool transposed = false;
        foreach ((string name, HostTensor a) in tensors)
        {
            if (name.EndsWith(".lora_B", StringComparison.Ordinal))
            {
                if (!tensors.ContainsKey(name[..^1] + "A")) throw new LoraNetException($"{file}: '{name}' has no lora_A beside it.");
                continue;
            }
            if (!name.EndsWith(".lora_A", StringComparison.Ordinal))
            {
                // A head trained whole, which may have layers of its own: classifier.dense, classifier.out_proj.
                saved.Add(name.Split('.')[0]);
                entries.Add(SafetensorsEntry.FromSingles(AdapterTensors.Prefix + name, a.ToArray(), a.Shape.ToArray()));
                continue;
            }
            string path = name[..^".lora_A".Length];
            if (!tensors.TryGetValue(path + ".lora_B", out HostTensor? b)) throw new LoraNetException($"{file}: '{name}' has no lora_B beside it.");
            if (a.Shape.Length != 2 || b.Shape.Length != 2) throw new LoraNetException($"{file}: '{name}' is not a matrix; only linear layers and embeddings are converted.");
            string last = path[(path.LastIndexOf('.') + 1)..];
            bool embedding = last.Contains("embed", StringComparison.OrdinalIgnoreCase) || last is "wte" or "wpe";
            transposed |= last is "c_attn" or "c_proj" or "c_fc";
            (float[] up, int rows, int parts) = Up(file, path, last, a, b, options);
            int rank = a.Shape[0];
            layers.Add((path, rank, options.Alpha * parts));
            entries.Add(SafetensorsEntry.FromSingles(PeftNames.FromLoralib(name, embedding), a.ToArray(), a.Shape.ToArray()));
            entries.Add(SafetensorsEntry.FromSingles(PeftNames.FromLoralib(path + ".lora_B", embedding), up, [rows, rank]));
        }
        if (layers.Count == 0) throw new LoraNetException($"{file} has no tensor named '….lora_A', so it is not a loralib checkpoint.", $"Its first tensor is '{tensors.Keys.First()}'.");
        int common = layers.GroupBy(l => l.Rank).OrderByDescending(g => g.Count()).First().Key;
        double alpha = layers.GroupBy(l => l.Alpha).OrderByDescending(g => g.Count()).First().Key;
        PeftAdapterConfig config = new()
        {
            R = common,
            LoraAlpha = alpha,
            RankPattern = [.. layers.Where(l => l.Rank != common).Select(l => KeyValuePair.Create(l.Path, l.Rank))],
            AlphaPattern = [.. layers.Where(l => l.Alpha != alpha).Select(l => KeyValuePair.Create(l.Path, l.Alpha))],
            TargetModules = ModuleSelector.Of([.. layers.Select(l => l.Path[(l.Path.LastIndexOf('.') + 1)..]).Distinct().Order(StringComparer.Ordinal)]),
            ModulesToSave = [.. saved.Order(StringComparer.Ordinal)],
            FanInFanOut = transposed,
            TaskType = options.TaskType ?? (saved.Overlaps(["classifier", "score"]) ? "SEQ_CLS" : "CAUSAL_LM"),
            BaseModelNameOrPath = options.BaseModelNameOrPath,
        };
        PeftNames.CreateFolder(output);
        SafetensorsWriter.Write(Path.Combine(output, AdapterFile.TensorFileName), entries, refuseNonFinite: true);
        AdapterConfigJson.Write(Path.Combine(output, AdapterConfigJson.FileName), config);
        return config;
    }

    /// <summary>Writes the tensors of a PEFT folder under loralib's names into one safetensors file, from which loralib loads them with strict=False. Alpha is not part of such files.</summary>
    /// <exception cref="LoraNetException">The folder is not an adapter, or uses what loralib does not have.</exception>
    public static void ToLoralib(string folder, string file)
    {
        PeftAdapterConfig config = AdapterConfigJson.Read(folder);
        if (config.UseDora || config.LoraBias || config.UseRsLora)
            throw new LoraNetException($"{folder} uses {(config.UseDora ? "DoRA" : config.LoraBias ? "lora_bias" : "rsLoRA")}, which loralib does not have.", config.UseRsLora ? "Fold rsLoRA into alpha first." : null);
        using SafetensorsFile source = SafetensorsFile.Open(Path.Combine(folder, AdapterFile.TensorFileName));
        SafetensorsWriter.Write(file, source.Tensors.Select(t => SafetensorsEntry.FromSingles(PeftNames.ToLoralib(t.Key), t.Value.ToArray(), t.Value.Shape.ToArray())), refuseNonFinite: true);
    }

    private static IEnumerable<(string Name, HostTensor Tensor)> ReadFile(string file)
    {
        if (!file.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase)) return TorchFile.Read(file);
        // Tensors keep the map of the file alive.
        return SafetensorsFile.Open(file).Tensors.Select(t => (t.Key, t.Value));
    }

    private static (float[] B, int Rows, int Parts) Up(string file, string path, string last, HostTensor a, HostTensor b, LoralibOptions options)
    {
        int rankOfB = b.Shape[1], rows = b.Shape[0];
        if (rankOfB == 0 || a.Shape[0] % rankOfB != 0)
            throw new LoraNetException($"{file}: '{path}' has lora_A [{a.Shape[0]}, {a.Shape[1]}] and lora_B [{rows}, {rankOfB}], which do not fit together.");
        int parts = a.Shape[0] / rankOfB;
        IReadOnlyList<bool>? mask = options.EnableLora;
        if (parts == 1 && !(mask is not null && _fused.Contains(last))) return (b.ToArray(), rows, 1);
        mask ??= parts == 2 ? [true, false, true] : parts == 3 ? [true, true, true] : null;
        if (mask is null || mask.Count(m => m) != parts)
            throw new LoraNetException($"{file}: '{path}' is a MergedLinear with {parts} enabled part{(parts == 1 ? "" : "s")}{(mask is null ? "" : $", but enable_lora has {mask.Count(m => m)}")}.", "Give enable_lora as it was in training, such as true,false,true.");
        if (rows % parts != 0) throw new LoraNetException($"{file}: '{path}' has a lora_B of {rows} rows, which {parts} parts do not divide.");
        int segment = rows / parts, r = rankOfB, rank = r * parts, outputs = segment * mask.Count;
        float[] source = b.ToArray(), up = new float[(long)outputs * rank];
        for (int position = 0, g = 0; position < mask.Count; position++)
        {
            if (!mask[position]) continue;
            for (int o = 0; o < segment; o++)
                source.AsSpan((g * segment + o) * r, r).CopyTo(up.AsSpan((position * segment + o) * rank + g * r, r));
            g++;
        }
        return (up, outputs, parts);
    }
}
