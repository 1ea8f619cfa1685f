using LoraNet.Formats;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Tensors;

namespace LoraNet.Adapters;

/// <summary>
/// The tensors of adapter_model.safetensors: each parameter under <c>base_model.model.</c> + its Hugging Face name, in F32,
/// layers of PiSSA and OLoRA as plain LoRA of twice the rank.
/// Reading accepts F32, F16 and BF16, and ignores PEFT's copies of base weights (<c>….base_layer.weight</c>).
/// </summary>
public static class AdapterTensors
{
    /// <summary>The prefix PEFT puts before module paths.</summary>
    public const string Prefix = "base_model.model.";

    /// <summary>The prefix of what all layers share (VeRA's matrices).</summary>
    public const string Root = "base_model.";

    /// <summary>Writes the file, atomically; refuses non-finite values.</summary>
    public static void Write(string path, LoraAdapter adapter)
    {
        IEnumerable<SafetensorsEntry> entries = StoredTensor.Of(adapter).Select(t => SafetensorsEntry.FromSingles(t.Key, t.Get(), t.Shape));
        SafetensorsWriter.Write(path, entries, refuseNonFinite: true);
    }

    /// <summary>Fills the parameters of an adapter from a file; every parameter must be there and every tensor must be used.</summary>
    /// <exception cref="LoraNetException">A tensor is missing, unexpected, of another shape or not finite.</exception>
    public static void Read(string path, LoraAdapter adapter)
    {
        using SafetensorsFile file = SafetensorsFile.Open(path);
        Dictionary<string, StoredTensor> wanted = StoredTensor.Of(adapter).ToDictionary(t => t.Key);
        List<string> unexpected = [.. file.Tensors.Keys.Where(name => !wanted.ContainsKey(name) && !IsBaseCopy(name))];
        foreach ((string name, StoredTensor target) in wanted)
        {
            if (!file.Tensors.TryGetValue(name, out HostTensor? tensor))
            {
                IReadOnlyList<string> near = NearestNames.Find(name, unexpected.Count > 0 ? unexpected : file.Tensors.Keys, 2);
                throw new LoraNetException($"{path}: tensor '{name}' is missing, though adapter_config.json implies it.",
                    near.Count > 0 ? $"Nearest in the file: {string.Join(", ", near)}." : "The file belongs to another model or configuration.");
            }
            // PEFT stores A and B of PiSSA and OLoRA without the part that it took from the base; that part was computed anew.
            bool ownOnly = target.Shape.Length == 2 && !tensor.Shape.SequenceEqual(target.Shape) && tensor.Shape.SequenceEqual(target.Own.FileShape);
            if (!ownOnly && !tensor.Shape.SequenceEqual(target.Shape))
                throw new LoraNetException($"{path}: tensor '{name}' has shape [{string.Join(", ", tensor.Shape.ToArray())}]; this model and adapter_config.json need [{string.Join(", ", target.Shape)}].",
                    "The adapter belongs to another base model, or its rank differs from adapter_config.json.");
            if (!tensor.DType.IsFloat()) throw new LoraNetException($"{path}: tensor '{name}' has type {tensor.DType}; a floating-point type was expected.");
            if (tensor.FindNonFinite() >= 0) throw new LoraNetException($"{path}: tensor '{name}' contains NaN or infinity.", "The adapter is damaged; train it again or use an earlier checkpoint.");
            if (ownOnly) target.Own.FromFile(tensor.ToArray());
            else target.Set(tensor.ToArray());
        }
        if (unexpected.Count > 0)
        {
            IReadOnlyList<string> near = NearestNames.Find(unexpected[0], wanted.Keys, 2);
            throw new LoraNetException($"{path}: {unexpected.Count} tensor{(unexpected.Count == 1 ? " is" : "s are")} not part of this adapter, the first being '{unexpected[0]}'.",
                near.Count > 0 ? $"Nearest expected: {string.Join(", ", near)}." : "The adapter belongs to another model.");
        }
    }

    // save_embedding_layers="auto" makes PEFT add base weights of adapted embeddings and heads.
    private static bool IsBaseCopy(string name) => name.EndsWith(".base_layer.weight", StringComparison.Ordinal);
}
