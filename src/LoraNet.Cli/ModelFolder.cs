using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tokenizers;

namespace LoraNet.Cli;

/// <summary>What commands need from a model folder besides the weights.</summary>
internal static class ModelFolder
{
    /// <summary>The file of a folder's chat template.</summary>
    public const string TemplateFile = "chat_template.jinja";

    private static readonly string[] _tokenizerFiles =
    [
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt",
        TemplateFile, "chat_template.json",
    ];

    /// <summary>Opens the model.</summary>
    public static CausalLM Load(string directory, Backend backend)
    {
        Check(directory);
        return CausalLM.Load(directory, backend);
    }

    /// <summary>Checks that there is a folder.</summary>
    public static void Check(string directory)
    {
        if (!Directory.Exists(directory))
            throw new LoraNetException(File.Exists(directory) ? $"--model {directory} is a file, not a model folder." : $"The model folder {directory} does not exist.", "Give a folder with config.json and safetensors weights.");
    }

    /// <summary>The tokenizer in the folder, or null when the folder has none.</summary>
    /// <exception cref="LoraNetException">There is one, but it is not usable.</exception>
    public static Tokenizer? Tokenizer(string directory)
    {
        bool any = _tokenizerFiles.Any(f => f is "tokenizer.json" or "tokenizer.model" or "vocab.json" or "vocab.txt" && File.Exists(Path.Combine(directory, f)))
            || Directory.EnumerateFiles(directory, "*.tiktoken").Any() || Directory.EnumerateFiles(directory, "*.model").Any() || Directory.EnumerateFiles(directory, "tok*.bin").Any();
        return any ? Tokenizers.Tokenizer.Load(directory) : null;
    }

    /// <summary>The text of the chat template that an adapter was trained with when it is not the model's own, else null.</summary>
    public static string? TemplateOf(string? adapter, string model)
    {
        if (adapter is null || Template(adapter) is not { } trained) return null;
        return trained == Template(model) ? null : trained;

        static string? Template(string folder) => Path.Combine(folder, TemplateFile) is var path && File.Exists(path) ? File.ReadAllText(path) : null;
    }

    /// <summary>Copies the tokenizer's files; false when there are none.</summary>
    public static bool CopyTokenizer(string source, string target)
    {
        bool any = false;
        foreach (string path in Directory.EnumerateFiles(source))
        {
            string name = Path.GetFileName(path);
            if (!_tokenizerFiles.Contains(name) && !name.EndsWith(".tiktoken", StringComparison.Ordinal) && !name.EndsWith(".model", StringComparison.Ordinal)) continue;
            Formats.AtomicFile.WriteAllBytes(Path.Combine(target, name), File.ReadAllBytes(path));
            any = true;
        }
        return any;
    }
}
