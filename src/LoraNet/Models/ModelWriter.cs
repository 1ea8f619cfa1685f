using System.Text.Json;
using LoraNet.Formats;
using LoraNet.Lora;
using LoraNet.Tensors;

namespace LoraNet.Models;

/// <summary>Writes a model with its active adapters merged as a plain Hugging Face folder.</summary>
public static class ModelWriter
{
    // What belongs to a model besides weights and config.json.
    private static readonly string[] _companions =
    [
        "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.model", "vocab.json", "merges.txt",
        "vocab.txt", "added_tokens.json", "chat_template.jinja", "chat_template.json",
    ];

    /// <summary>
    /// Writes merged weights, config.json and the companions of <paramref name="sourceDirectory"/>. The folder appears whole or
    /// not at all. Each changed tensor is computed in binary32 and rounded once; unchanged ones are copied.
    /// </summary>
    /// <param name="model">The model; its active adapters are merged.</param>
    /// <param name="sourceDirectory">The base model's folder.</param>
    /// <param name="outputDirectory">The new folder; must not exist or be empty.</param>
    /// <param name="dtype">Type of all floating-point tensors; null keeps each tensor's own.</param>
    /// <exception cref="LoraNetException">The output is not writable, exists already, or a merged value is not finite.</exception>
    public static void WriteMerged(PretrainedModel model, string sourceDirectory, string outputDirectory, DType? dtype = null)
    {
        if (dtype is { } wanted && !wanted.IsFloat()) throw new LoraNetException($"--dtype {wanted} is not a floating-point type.", "Use f32, bf16 or f16.");
        if (Path.GetFullPath(sourceDirectory) == Path.GetFullPath(outputDirectory))
            throw new LoraNetException($"The merged model would overwrite its own base in '{outputDirectory}'.", "Choose another output folder.");
        if (Directory.Exists(outputDirectory) && Directory.EnumerateFileSystemEntries(outputDirectory).Any())
            throw new LoraNetException($"The folder '{outputDirectory}' exists and is not empty.", "Choose another output folder, or remove it first.");
        using MergedWeights merged = new(model);
        using AtomicDirectory output = AtomicDirectory.Begin(outputDirectory);
        IEnumerable<SafetensorsEntry> entries = merged.Names.Select(name => Entry(merged, name, dtype));
        SafetensorsWriter.Write(Path.Combine(output.TemporaryPath, "model.safetensors"), entries, refuseNonFinite: true);
        string config = model.Config.ToJson(dtype ?? StoredType(merged), merged.Untied ? false : null).ToJsonString(new JsonSerializerOptions { WriteIndented = true });
        AtomicFile.WriteAllText(Path.Combine(output.TemporaryPath, "config.json"), config + "\n");
        foreach (string name in _companions)
        {
            string source = Path.Combine(sourceDirectory, name);
            if (File.Exists(source)) File.Copy(source, Path.Combine(output.TemporaryPath, name));
        }
        output.Commit();
    }

    /// <summary>The largest absolute difference of two models' logits on the same tokens, and the largest logit for scale.</summary>
    public static (double Difference, double Largest) CompareLogits(CausalLM first, CausalLM second, int[] tokens)
    {
        TokenRow row = new(tokens, tokens);
        float[] a = LogitsOf(first, row), b = LogitsOf(second, row);
        double difference = 0, largest = 0;
        for (int i = 0; i < a.Length; i++)
        {
            difference = Math.Max(difference, Math.Abs(a[i] - (double)b[i]));
            largest = Math.Max(largest, Math.Abs(a[i]));
        }
        return (difference, largest);
    }

    private static float[] LogitsOf(CausalLM model, TokenRow row)
    {
        using Arena arena = new(model.Backend);
        using TokenBatch batch = TokenBatch.Create(model.Backend, [row], model.Options.VocabularySize);
        int vocabulary = model.Options.VocabularySize;
        float[] all = new float[(long)batch.Tokens * vocabulary];
        model.Logits(arena, batch, (start, logits) => model.Backend.Download(logits, all.AsSpan(start * vocabulary, logits.Rows * vocabulary)));
        return all;
    }

    private static SafetensorsEntry Entry(MergedWeights merged, string name, DType? dtype)
    {
        HostTensor stored = merged.Stored(name);
        DType target = dtype is not null && stored.DType.IsFloat() ? dtype.Value : stored.DType;
        if (!merged.IsChanged(name) && target == stored.DType) return SafetensorsEntry.FromHost(name, stored);
        int[] shape = stored.Shape.ToArray();
        // Computed when it is written, so that one tensor is in memory at a time.
        return new SafetensorsEntry(name, target, shape, stream => SafetensorsEntry.FromSingles(name, merged.Compute(name), shape, target).Write(stream));
    }

    private static DType? StoredType(MergedWeights merged)
    {
        DType[] types = [.. merged.Names.Select(n => merged.Stored(n).DType).Where(t => t.IsFloat()).Distinct()];
        return types.Length == 1 ? types[0] : null;
    }
}
