namespace LoraNet.Adapters;

/// <summary>Names of tensors in adapter files.</summary>
internal static class PeftNames
{
    private const string Down = ".lora_A.weight", Up = ".lora_B.weight", EmbeddingDown = ".lora_embedding_A", EmbeddingUp = ".lora_embedding_B";

    /// <summary>Whether a tensor is an A, and of which module.</summary>
    public static bool TryDown(string name, out string path)
    {
        path = "";
        string suffix = name.EndsWith(Down, StringComparison.Ordinal) ? Down : EmbeddingDown;
        if (!name.EndsWith(suffix, StringComparison.Ordinal)) return false;
        path = WithoutPrefix(name[..^suffix.Length]);
        return true;
    }

    /// <summary>The name without <c>base_model.model.</c>.</summary>
    public static string WithoutPrefix(string name) => name.StartsWith(AdapterTensors.Prefix, StringComparison.Ordinal) ? name[AdapterTensors.Prefix.Length..] : name;

    /// <summary>
    /// loralib's name of a PEFT tensor: no prefix, <c>.lora_A</c> without <c>.weight</c>; embeddings' factors are called lora_A and
    /// lora_B there too. Names of other tensors only lose the prefix.
    /// </summary>
    public static string ToLoralib(string name)
    {
        name = WithoutPrefix(name);
        foreach ((string peft, string loralib) in new[] { (Down, ".lora_A"), (Up, ".lora_B"), (EmbeddingDown, ".lora_A"), (EmbeddingUp, ".lora_B") })
            if (name.EndsWith(peft, StringComparison.Ordinal)) return name[..^peft.Length] + loralib;
        return name;
    }

    /// <summary>PEFT's name of a loralib tensor; <c>module.</c> of distributed training is dropped.</summary>
    /// <param name="name">loralib's name.</param>
    /// <param name="embedding">Whether the module is an embedding, which the name does not tell.</param>
    public static string FromLoralib(string name, bool embedding)
    {
        name = WithoutModule(name);
        bool down = name.EndsWith(".lora_A", StringComparison.Ordinal), up = name.EndsWith(".lora_B", StringComparison.Ordinal);
        if (!down && !up) return AdapterTensors.Prefix + name;
        string path = AdapterTensors.Prefix + name[..^".lora_A".Length];
        return path + (embedding ? down ? EmbeddingDown : EmbeddingUp : down ? Down : Up);
    }

    /// <summary>The name without <c>module.</c>.</summary>
    public static string WithoutModule(string name) => name.StartsWith("module.", StringComparison.Ordinal) ? name["module.".Length..] : name;

    /// <summary>Makes a folder, as a user's mistake when that fails.</summary>
    public static void CreateFolder(string directory)
    {
        try
        {
            Directory.CreateDirectory(directory);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new LoraNetException($"The folder '{directory}' cannot be created: {e.Message}", "Choose a writable folder with --output.", e);
        }
    }
}
