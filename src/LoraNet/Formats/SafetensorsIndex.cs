using System.Text.Json;
using System.Text.Json.Nodes;

namespace LoraNet.Formats;

/// <summary>
/// The index of a model split over several files: <c>{"metadata": {...}, "weight_map": {"tensor": "file", ...}}</c>
/// (format: https://huggingface.co/docs/transformers/big_models).
/// </summary>
public sealed class SafetensorsIndex
{
    /// <summary>Name of the index file in a model folder.</summary>
    public const string FileName = "model.safetensors.index.json";

    private SafetensorsIndex(string path, Dictionary<string, string> weightMap)
    {
        Path = path;
        WeightMap = weightMap;
    }

    /// <summary>The path it was read from.</summary>
    public string Path { get; }

    /// <summary>The file, relative to the index, of each tensor. Every one lies in the folder of the index or below it.</summary>
    public IReadOnlyDictionary<string, string> WeightMap { get; }

    /// <summary>Reads an index. Does not look at the shards.</summary>
    /// <exception cref="LoraNetException">It cannot be read, is malformed, or names a file outside its folder.</exception>
    public static SafetensorsIndex Read(string path)
    {
        if (!JsonFile.ParseObject(path).TryGetPropertyValue("weight_map", out JsonNode? node) || node is not JsonObject map)
            throw new LoraNetException($"{path} has no object \"weight_map\".", "Download it again.");
        Dictionary<string, string> weightMap = new(StringComparer.Ordinal);
        foreach ((string name, JsonNode? value) in map)
        {
            if (value?.GetValueKind() != JsonValueKind.String) throw new LoraNetException($"{path}: weight_map entry \"{name}\" is not a file name.");
            string file = value.GetValue<string>();
            if (!StaysInside(file)) throw new LoraNetException($"{path}: weight_map entry \"{name}\" names \"{file}\", which is not a file in the same folder.", "Do not use this model: its index is malformed or malicious.");
            weightMap.Add(name, file);
        }
        if (weightMap.Count == 0) throw new LoraNetException($"{path}: weight_map is empty.", "Download it again.");
        return new SafetensorsIndex(path, weightMap);
    }

    // Only the text is judged: symbolic links are how download caches lay out a folder, so they are followed.
    private static bool StaysInside(string file) =>
        file.Length is > 0 and < 1024 && !file.Any(static c => c is '\\' or ':' || char.IsControl(c))
        && file.Split('/').All(static part => part is not ("" or "." or ".."));
}
