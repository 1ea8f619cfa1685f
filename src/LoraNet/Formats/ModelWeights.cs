using System.Diagnostics.CodeAnalysis;
using LoraNet.Tensors;

namespace LoraNet.Formats;

/// <summary>
/// The weights of a Hugging Face model folder: <c>model.safetensors</c>, or <c>model.safetensors.index.json</c> with its shards.
/// All files are mapped, none is read: opening costs time in proportion to the headers only.
/// </summary>
public sealed class ModelWeights : IDisposable
{
    private readonly List<SafetensorsFile> _files;
    private readonly Dictionary<string, (HostTensor Tensor, SafetensorsFile File)> _tensors;

    private ModelWeights(string directory, List<SafetensorsFile> files, Dictionary<string, (HostTensor, SafetensorsFile)> tensors)
    {
        Directory = directory;
        _files = files;
        _tensors = tensors;
    }

    /// <summary>The folder (or the single file) that was opened.</summary>
    public string Directory { get; }

    /// <summary>The files, in the order of their names.</summary>
    public IReadOnlyList<SafetensorsFile> Files => _files;

    /// <summary>The names of all tensors.</summary>
    public IReadOnlyCollection<string> Names => _tensors.Keys;

    /// <summary>Opens the weights of a model.</summary>
    /// <param name="directory">A model folder, or the path of one <c>.safetensors</c> file.</param>
    /// <exception cref="LoraNetException">There are no safetensors weights, a shard or tensor is missing, or a file is damaged.</exception>
    public static ModelWeights Open(string directory)
    {
        if (File.Exists(directory)) return OpenSingle(directory, directory);
        if (!System.IO.Directory.Exists(directory)) throw new LoraNetException($"The model folder {directory} does not exist.", "Check the path.");
        string single = Path.Combine(directory, "model.safetensors");
        if (File.Exists(single)) return OpenSingle(directory, single);
        string index = Path.Combine(directory, SafetensorsIndex.FileName);
        if (File.Exists(index)) return OpenShards(directory, SafetensorsIndex.Read(index));
        throw NoWeights(directory);
    }

    /// <summary>Looks a tensor up.</summary>
    public bool TryGet(string name, [NotNullWhen(true)] out HostTensor? tensor)
    {
        bool found = _tensors.TryGetValue(name, out (HostTensor Tensor, SafetensorsFile File) entry);
        tensor = found ? entry.Tensor : null;
        return found;
    }

    /// <summary>The file a tensor lies in, for messages; null if there is no such tensor.</summary>
    public string? FileOf(string name) => _tensors.TryGetValue(name, out (HostTensor Tensor, SafetensorsFile File) entry) ? entry.File.Path : null;

    /// <summary>Looks a tensor up that must exist.</summary>
    /// <exception cref="LoraNetException">It does not; the message names the nearest names.</exception>
    public HostTensor Get(string name)
    {
        if (TryGet(name, out HostTensor? tensor)) return tensor;
        string near = string.Join(", ", NearestNames.Find(name, _tensors.Keys, 3));
        throw new LoraNetException($"{Directory} has no tensor \"{name}\".", near.Length == 0 ? null : $"Nearest names: {near}.");
    }

    /// <summary>Reads every floating-point tensor and refuses NaN and infinities. Reads all data once.</summary>
    /// <exception cref="LoraNetException">A tensor holds one; the message names file, tensor and index.</exception>
    public void CheckFinite()
    {
        foreach ((string name, (HostTensor tensor, SafetensorsFile file)) in _tensors)
        {
            long index = tensor.FindNonFinite();
            if (index >= 0) throw new LoraNetException($"{file.Path}, tensor \"{name}\": element {index} is NaN or infinite.", "The file is damaged or the model diverged; use another copy.");
        }
    }

    /// <summary>Unmaps all files. No tensor of them may be used afterwards.</summary>
    public void Dispose()
    {
        foreach (SafetensorsFile file in _files) file.Dispose();
    }

    private static ModelWeights OpenSingle(string directory, string path)
    {
        SafetensorsFile file = SafetensorsFile.Open(path);
        Dictionary<string, (HostTensor, SafetensorsFile)> tensors = new(file.Tensors.Count, StringComparer.Ordinal);
        foreach ((string name, HostTensor tensor) in file.Tensors) tensors.Add(name, (tensor, file));
        return new ModelWeights(directory, [file], tensors);
    }

    private static ModelWeights OpenShards(string directory, SafetensorsIndex index)
    {
        List<SafetensorsFile> files = [];
        try
        {
            Dictionary<string, (HostTensor, SafetensorsFile)> tensors = new(index.WeightMap.Count, StringComparer.Ordinal);
            foreach (IGrouping<string, KeyValuePair<string, string>> shard in index.WeightMap.GroupBy(static p => p.Value).OrderBy(static g => g.Key, StringComparer.Ordinal))
            {
                string path = Path.Combine(directory, shard.Key);
                if (!File.Exists(path))
                    throw new LoraNetException($"{index.Path} names the shard {shard.Key}, which is not there.", "Download the missing file into the same folder.");
                SafetensorsFile file = SafetensorsFile.Open(path);
                files.Add(file);
                foreach ((string name, _) in shard)
                {
                    if (!file.Tensors.TryGetValue(name, out HostTensor? tensor))
                        throw new LoraNetException($"{index.Path} places tensor \"{name}\" in {shard.Key}, which does not hold it.", "The index and the shards are of different versions: download all of them again.");
                    tensors.Add(name, (tensor, file));
                }
            }
            return new ModelWeights(directory, files, tensors);
        }
        catch
        {
            foreach (SafetensorsFile file in files) file.Dispose();
            throw;
        }
    }

    private static LoraNetException NoWeights(string directory)
    {
        string[] names;
        try
        {
            names = [.. System.IO.Directory.EnumerateFiles(directory).Select(static p => Path.GetFileName(p)).Order(StringComparer.Ordinal)];
        }
        catch (Exception e) when (FileErrors.IsFileError(e))
        {
            return FileErrors.Reading(directory, e);
        }
        if (names.Any(static n => n.StartsWith("pytorch_model", StringComparison.Ordinal)))
            return new LoraNetException($"{directory} holds only PyTorch pickle weights (pytorch_model.bin).",
                "Pickle files can run code and are not opened. Convert the model to safetensors: in Python, AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder, safe_serialization=True).");
        if (names.Contains("adapter_config.json"))
            return new LoraNetException($"{directory} is an adapter, not a model.", "Give the folder of the base model here and this one as the adapter.");
        string? other = names.FirstOrDefault(static n => n.EndsWith(".safetensors", StringComparison.Ordinal));
        if (other is not null)
            return new LoraNetException($"{directory} has neither model.safetensors nor {SafetensorsIndex.FileName}, but {other}.", $"Add the missing index, or rename a single file to model.safetensors.");
        string? gguf = names.FirstOrDefault(static n => n.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase));
        if (gguf is not null)
            return new LoraNetException($"{directory} holds a GGUF file ({gguf}) but no safetensors weights.", "Download the Hugging Face version of the model.");
        return new LoraNetException($"{directory} holds no model: there is no model.safetensors and no {SafetensorsIndex.FileName}.", "Give the folder of a Hugging Face model.");
    }
}
